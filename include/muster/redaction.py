"""Keeps secrets out of the log, XCom, prompts and screens: those this process knows, and what looks like one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

REDACTED = "[redacted]"
"""What stands where a secret stood."""
SHORTEST = 8
"""Characters; a shorter password may be a word of any text, so it is only found where it looks like one."""
A_WORD = 13
"""Characters of a password that is nothing but small letters, such as `postgres`: likewise."""

_NAMES = (
    r"password|passwd|passphrase|secret|(?:api|private|master|fernet|secret)_?key"
    r"|(?:access|refresh|auth|bearer|id)_?token|credentials?"
)
_SECRET_NAME = re.compile(rf"(?:^|[_-])(?:{_NAMES}|token)$", re.IGNORECASE)
_SECRET_KEYS = re.compile(rf"(?:\w+_)?(?:{_NAMES})|authorization", re.IGNORECASE)


class _Pattern(NamedTuple):
    hints: tuple[str, ...]
    """A text without one of these does not match: looking for them is many times cheaper."""
    looks_like: re.Pattern[str]
    instead: str


_PATTERNS = (
    _Pattern(
        ("PRIVATE KEY",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        REDACTED,
    ),
    # The user of a URL stays: it says whose secret was there.
    _Pattern(("@",), re.compile(r"(://[^\s/:@\"']*):[^\s/\"']+@"), rf"\1:{REDACTED}@"),
    _Pattern(("hooks.slack",), re.compile(r"(hooks\.slack(?:-gov)?\.com/\w+)/[\w/-]+"), rf"\1/{REDACTED}"),
    _Pattern(
        ("earer ", "EARER ", "asic ", "ASIC "),
        re.compile(r"\b((?i:bearer|basic)) +(?=[^\s\"']*(?:[\d=]|[a-z][A-Z]))[A-Za-z0-9._~+/=-]{12,}"),
        rf"\1 {REDACTED}",
    ),
    _Pattern(("sk-",), re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"), REDACTED),
    _Pattern(("k_live_", "k_test_"), re.compile(r"\b[rs]k_(?:live|test)_\w{10,}"), REDACTED),
    _Pattern(("AKIA", "ASIA"), re.compile(r"\bA[KS]IA[0-9A-Z]{16}\b"), REDACTED),
    _Pattern(("AIza",), re.compile(r"\bAIza[\w-]{30,}"), REDACTED),
    _Pattern(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"), REDACTED),
    _Pattern(("github_pat_", "glpat-"), re.compile(r"\b(?:github_pat_|glpat-)[\w-]{16,}"), REDACTED),
    _Pattern(("xox",), re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"), REDACTED),
    _Pattern(("eyJ",), re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    _Pattern(
        ("=",),
        re.compile(rf"\b((?:\w+_)?(?:{_NAMES})\s*=\s*)(\"[^\"]+\"|'[^']+'|[^\s\"'&;,]+)", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
)


class _Memory:
    """The secrets this process knows, in every form they may be written in."""

    def __init__(self) -> None:
        self.forms: tuple[str, ...] = ()
        self._lock = Lock()

    def add(self, forms: set[str]) -> None:
        with self._lock:
            if not forms <= set(self.forms):
                # The longest first: a secret that is part of another must not leave the rest of it.
                self.forms = tuple(sorted({*self.forms, *forms}, key=lambda form: (-len(form), form)))


_known = _Memory()


def learn(*secrets: str | None) -> None:
    """Secrets this process has come to know: nothing it writes will hold them."""
    _known.add({form for secret in secrets if secret is not None for form in _forms(secret)})


def learn_settings(settings: Mapping[str, Any]) -> None:
    """The settings whose names say that they are secret: `smtp_password`, `api_key`, `crm.token`."""
    learn(*_named_secret(settings))


def learn_environment(environment: Mapping[str, str] | None = None) -> None:
    """The secrets among the environment variables: by name, and the passwords of Airflow's connections."""
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith("AIRFLOW_CONN_"):
            learn(*connection_secrets(value))
        elif "://" in value:
            learn(_password(value))
        elif _SECRET_NAME.search(name):
            learn(value)


def connection_secrets(text: str) -> Iterator[str]:
    """The secrets of a connection written as a URI or as JSON."""
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict):
        yield from _named_secret(parsed)
        extra = parsed.get("extra")
        if isinstance(extra, str) and extra.startswith("{"):
            yield from connection_secrets(extra)
        return
    if (password := _password(text)) is not None:
        yield password
    yield from _named_secret(dict(parse_qsl(urlsplit(text).query)))


def redact(text: str) -> str:
    """`text` without secrets."""
    for secret in _known.forms:
        if secret in text:
            text = text.replace(secret, REDACTED)
    for hints, looks_like, instead in _PATTERNS:
        for hint in hints:
            if hint in text:
                text = looks_like.sub(instead, text)
                break
    return text


def redact_data(value: Any) -> Any:
    """JSON-ready data without secrets, in keys and in values; what a key's name calls a secret is one."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            redact(key) if isinstance(key, str) else key: REDACTED if _is_secret(key, inner) else redact_data(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_data(inner) for inner in value]
    return value


def may_hold_secrets(json_text: str) -> bool:
    """False when `redact_data` has nothing to do for the data that was written as this canonical JSON."""
    # Without a Python step for each: this is done for every event.
    holds = json_text.__contains__
    if any(map(holds, _known.forms)):
        return True
    if _holds_any(json_text, _HINTS):
        # An escaped line break would glue its letter to the word after it.
        plain = _ESCAPE.sub(" ", json_text)
        likely = [pattern for pattern in _PATTERNS if any(map(holds, pattern.hints))]
        if any(pattern.looks_like.search(plain) for pattern in likely):
            return True
    return _holds_any(json_text.lower(), _KEY_WORDS) and _KEY_IN_JSON.search(json_text) is not None


def _holds_any(text: str, words: Mapping[str, Sequence[str]]) -> bool:
    holds = text.__contains__
    return any(any(map(holds, words[letter])) for letter in filter(holds, words))


def _by_letter(words: Iterable[str], letters: str) -> Mapping[str, Sequence[str]]:
    """The words by the first of the letters that each holds: a letter is found, or not, three times as fast as a word,
    and so is that none of its words is there.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        found.setdefault(next(letter for letter in letters if letter in word), []).append(word)
    return found


_HINTS = _by_letter((hint for pattern in _PATTERNS for hint in pattern.hints), "@=JxAkg -")
_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
_KEY_WORDS = _by_letter(
    (
        "passw",
        "passphrase",
        "secret",
        "api_key",
        "apikey",
        "private",
        "_token",
        'token":"',
        "credential",
        "authoriz",
    ),
    "zwkhvds",
)
_KEY_IN_JSON = re.compile(
    r'(?:password|passwd|passphrase|secret|(?:api|private|master|fernet|secret)_?key|token|credentials?|authorization)":"',
    re.IGNORECASE,
)


def _is_secret(key: Any, value: Any) -> bool:
    return isinstance(value, str) and bool(value) and isinstance(key, str) and bool(_SECRET_KEYS.fullmatch(key))


def _named_secret(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _named_secret(value)
        elif isinstance(value, str) and _SECRET_NAME.search(str(name)):
            yield value


def _password(text: str) -> str | None:
    try:
        found = urlsplit(text).password
    except ValueError:
        return None
    return None if found is None else unquote(found)


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be written: as it is, in JSON, in a URL."""
    if len(secret.strip()) >= (A_WORD if secret.isalpha() and secret.islower() else SHORTEST):
        yield secret
        yield json.dumps(secret, ensure_ascii=False)[1:-1]
        yield quote(secret, safe="")
