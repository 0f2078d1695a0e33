"""Keeps secrets out of the log, XCom, prompts and screens: those this process knows, and what looks like one."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from muster.patterns import lazy_pattern
from muster.secret_names import MAY_BE_NAMED, WORDS, named
from muster.secret_shapes import elements, is_given, options, pairs
from muster.secret_words import PIN, is_listed, is_secret, kind_of, looks_random, name_in

REDACTED = "[redacted]"
"""What stands where a secret stood."""
SHORTEST = 8
"""Characters; a shorter password may be a word of any text, so it is only found where it looks like one."""
NESTED = 3
"""How many times JSON may stand as a text within JSON and a known secret in it is still found."""
A_WORD = 13
"""Characters of a password that is nothing but small letters, such as `postgres`: likewise."""


class _Pattern(NamedTuple):
    hints: tuple[str, ...]
    """A text without one of these does not match: looking for them is many times cheaper."""
    looks_like: re.Pattern[str]
    instead: str


_GIVEN = r"(?![-\[<({]|\$[\w({])(?=[^\s\"'\\|;&]*[\d!@#$%^&*+=~])[^\s\"'\\|;&]+"
"""What stands behind an option, and is no word, no other option and not to be filled in."""
_PATTERNS = (
    _Pattern(
        ("PRIVATE KEY",),
        lazy_pattern(
            r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)",
            re.DOTALL,
        ),
        REDACTED,
    ),
    # The user of a URL stays: it says whose secret was there.
    _Pattern(("@",), lazy_pattern(r"(://[^\s/:@\"']*):[^\s/\"']+@"), rf"\1:{REDACTED}@"),
    _Pattern(("hooks.slack",), lazy_pattern(r"(hooks\.slack(?:-gov)?\.com/\w+)/[\w/-]+"), rf"\1/{REDACTED}"),
    _Pattern(
        ("earer ", "EARER ", "asic ", "ASIC "),
        lazy_pattern(r"\b((?i:bearer|basic)) +(?=[^\s\"']*(?:[\d=]|[a-z][A-Z]))[A-Za-z0-9._~+/=-]{12,}"),
        rf"\1 {REDACTED}",
    ),
    _Pattern(("sk-",), lazy_pattern(r"\bsk-[A-Za-z0-9_-]{16,}"), REDACTED),
    _Pattern(("k_live_", "k_test_"), lazy_pattern(r"\b[rs]k_(?:live|test)_\w{10,}"), REDACTED),
    _Pattern(("AKIA", "ASIA"), lazy_pattern(r"\bA[KS]IA[0-9A-Z]{16}\b"), REDACTED),
    _Pattern(("AIza",), lazy_pattern(r"\bAIza[\w-]{30,}"), REDACTED),
    _Pattern(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), lazy_pattern(r"\bgh[pousr]_[A-Za-z0-9]{20,}"), REDACTED),
    _Pattern(("github_pat_", "glpat-"), lazy_pattern(r"\b(?:github_pat_|glpat-)[\w-]{16,}"), REDACTED),
    _Pattern(("npm_", "hf_"), lazy_pattern(r"\b(?:npm|hf)_[A-Za-z0-9]{30,}"), REDACTED),
    _Pattern(("SG.",), lazy_pattern(r"\bSG\.[\w-]{16,}\.[\w-]{30,}"), REDACTED),
    _Pattern(("xox",), lazy_pattern(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}"), REDACTED),
    _Pattern(("eyJ",), lazy_pattern(r"(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
    # The only commands of which everybody knows what `-p` is; elsewhere it is a port, a path or a project.
    _Pattern(("sshpass -p",), lazy_pattern(rf"\b(sshpass -p +(?:\\*[\"'])?){_GIVEN}"), rf"\1{REDACTED}"),
    _Pattern(
        ("mysql", "mariadb"),
        lazy_pattern(rf"\b((?:mysql|mariadb)[\w-]{{0,20}} (?:[^\n|;&]{{0,200}}? )?-p(?:\\*[\"'])?){_GIVEN}"),
        rf"\1{REDACTED}",
    ),
    # Schemes that are no words: whatever stands behind one at the end of a line is what it hands over.
    _Pattern(
        ("uthorization", "UTHORIZATION"),
        lazy_pattern(
            r"\b((?i:authorization\s*[:=]\s*(?:dpop|hawk|ntlm|ssws|[\w-]{0,40}api-?key|[\w-]{1,40}-(?:key|token))) +)"
            r"[^\s\"',;\[\\]{8,}(?=[ \t]*(?:[\"',;\\\n]|\Z))"
        ),
        rf"\1{REDACTED}",
    ),
    _Pattern(
        ("uthorization", "UTHORIZATION"),
        lazy_pattern(
            r"\b((?i:authorization)\s*[:=]\s*(?:[A-Za-z]+ +)?)(?![\w-]+ +\[redacted)"
            r"(?=[^\s\"',;]*(?:[\d=]|[a-z][A-Z]))[^\s\"',;\[]{8,}"
        ),
        rf"\1{REDACTED}",
    ),
)


_FROM_ELSEWHERE = lazy_pattern(
    r"\$\{[^{}\s]*\}|\$\([^()\"']*\)|\$\w+|\{\{[^{}\"']*\}\}|(?<!\{)\{\w*\}(?!\})|<[^<>\s]{1,40}>|%\(\w+\)s"
)
"""A variable, an expression without a text in it, a blank to fill in: what comes in its place is not known here."""


class _Memory:
    """The secrets this process knows, in every form they may be written in."""

    def __init__(self) -> None:
        self.forms: tuple[str, ...] = ()
        self._heads: tuple[tuple[str, ...], dict[str, list[str]]] = ((), {})
        self._lock = Lock()

    def add(self, forms: set[str]) -> None:
        with self._lock:
            if not forms <= set(self.forms):
                # The longest first: a secret that is part of another must not leave the rest of it.
                self.forms = tuple(sorted({*self.forms, *forms}, key=lambda form: (-len(form), form)))

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where known secrets stand in a text, from left to right, those that overlap as one."""
        forms = self.forms
        if len(forms) < _MANY and not any(map(text.__contains__, forms)):
            return []
        # Every form is at least SHORTEST long. To look each part of a text up costs the same for any number of secrets.
        built, heads = self._heads
        if built is not forms:
            heads = {}
            for form in forms:
                heads.setdefault(form[:SHORTEST], []).append(form)
            self._heads = (forms, heads)
        found: list[tuple[int, int]] = []
        for start in [at for at in range(len(text) - SHORTEST + 1) if text[at : at + SHORTEST] in heads]:
            for form in heads[text[start : start + SHORTEST]]:
                end = start + len(form)
                if not text.startswith(form, start) or (form.isdecimal() and _within_word(text, start, end)):
                    continue
                if found and start < found[-1][1]:
                    start, end = found[-1][0], max(end, found[-1][1])
                    found.pop()
                found.append((start, end))
                break
        return found


def _within_word(text: str, start: int, end: int) -> bool:
    """True when digits are part of a longer number or name, such as an account's."""
    return text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()


_MANY = 200
"""Forms of known secrets from which on looking for each of them costs more than looking up the parts of a text."""
_known = _Memory()


def learn(*secrets: str | None) -> None:
    """Secrets this process has come to know: nothing it writes will hold them."""
    _known.add({form for secret in secrets if secret is not None for form in _forms(secret)})


def learn_settings(settings: Mapping[str, object]) -> None:
    """The settings whose names say that they are secret: `smtp_password`, `api_key`, `crm.token`."""
    learn(*_named_secret(settings))


def learn_environment(environment: Mapping[str, str] | None = None) -> None:
    """The secrets among the environment variables: by name, and the passwords of Airflow's connections."""
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith("AIRFLOW_CONN_"):
            learn(*connection_secrets(value))
        elif "://" in value:
            learn(_password(value))
        elif is_secret(name, value) and name not in _FOLDERS:
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
    return _without_likely(_without_known(text))


def looks_secret(text: str, *, prose: bool = False) -> bool:
    """True when a text holds what looks like a key, or `password=...`; a sentence about passwords does not, nor does
    what says where the secret comes from, such as `password=$DB_PASSWORD`. In `prose` only a key counts.
    """
    if not prose and any(_FROM_ELSEWHERE.sub("", text[span.start : span.end]).strip() for span in elements(text)):
        return True  # Looked for first: an element's name looks like a blank to fill in.
    text = _FROM_ELSEWHERE.sub(REDACTED, text)
    if _without_patterns(text) != text:
        return True
    if prose:
        return False
    if any(True for find in (pairs, options) for _ in find(text)):
        return True
    return any(text[max(0, span.start - 8) : span.start].rstrip("\"' \t").endswith("=") for span in named(text))


def redact_data(value: object) -> Any:
    """JSON-ready data without secrets, in keys and in values; what a key's name calls a secret is one."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            redact(key) if isinstance(key, str) else key: _under(name_in(value, key), inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        if is_listed(value):
            return [[redact(name), _under(name, inner, listed=True)] for name, inner in value]
        before = [None, *value]
        return [REDACTED if is_given(*pair) else redact_data(pair[1]) for pair in zip(before, value, strict=False)]
    if isinstance(value, int | float) and str(value) in _known.forms:
        return REDACTED
    return value


def _under(name: Any, value: object, *, listed: bool = False) -> object:
    return _hidden(name, value, listed) if is_secret(name, value, listed=listed) else redact_data(value)


def _hidden(name: str, value: object, listed: bool) -> object:
    """What a name calls secret, with the shape it had, which may be declared: only what it says is gone."""
    if isinstance(value, Mapping):
        # What stands in a mapping has a name of its own, so that a number there is a length, a count or a version.
        return {
            redact(key) if isinstance(key, str) else key: (
                redact_data(inner)
                if isinstance(inner, int | float) and not is_secret(key, inner)
                else _hidden(name, inner, listed)
            )
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_hidden(name, inner, listed) for inner in value]
    return REDACTED if is_secret(name, value, listed=listed) else redact_data(value)


def _without_known(text: str) -> str:
    parts, position = [], 0
    for start, end in _known.places(text):
        parts += [text[position:start], REDACTED]
        position = end
    return "".join([*parts, text[position:]]) if parts else text


def _without_likely(text: str) -> str:
    text = _without_patterns(text)
    lowered = text.lower()
    if _holds_any(lowered, _KEY_WORDS) and MAY_BE_NAMED.search(lowered):
        text = _without_named(text)
    return text


def _without_patterns(text: str) -> str:
    for hints, looks_like, instead in _PATTERNS:
        for hint in hints:
            if hint in text:
                text = looks_like.sub(instead, text)
                break
    return text


def _without_named(text: str) -> str:
    for spans in (elements, pairs, options, named):
        parts, position = [], 0
        for start, end, mark in spans(text):
            parts += [text[position:start], mark, REDACTED, mark]
            position = end
        text = "".join([*parts, text[position:]]) if parts else text
    return text


def may_hold_secrets(json_text: str) -> bool:
    """False when `redact_data` has nothing to do for the data that was written as this canonical JSON."""
    # Without a Python step for each: this is done for every event.
    holds = json_text.__contains__
    if _known.places(json_text):
        return True
    if _holds_any(json_text, _HINTS):
        # An escaped line break would glue its letter to the word after it.
        plain = _ESCAPE.sub(" ", json_text)
        likely = [pattern for pattern in _PATTERNS if any(map(holds, pattern.hints))]
        if any(pattern.looks_like.search(plain) for pattern in likely):
            return True
    lowered = json_text.lower()
    if _holds_any(lowered, _KEY_WORDS) and MAY_BE_NAMED.search(lowered):
        return True
    return "pin" in lowered and _PIN.search(lowered) is not None


_PIN = lazy_pattern(rf'"{PIN}"')


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


_HINTS = _by_letter((hint for pattern in _PATTERNS for hint in pattern.hints), "@JxAkgzZ -G_my")
_ESCAPE = lazy_pattern(r"\\(?:u[0-9a-f]{4}|.)")
_KEY_WORDS = _by_letter(WORDS, "wkhzds")
_FOLDERS = frozenset({"PWD", "OLDPWD"})
"""Environment variables that sound like a password and are none."""


def _named_secret(values: Mapping[str, object]) -> Iterator[str]:
    for key, value in values.items():
        yield from _secrets_of(name_in(values, key), value, within=False)


def _secrets_of(name: str, value: object, *, within: bool) -> Iterator[str]:
    """The texts and numbers that a name calls secret; `within` what one calls so, also those that look random."""
    if isinstance(value, Mapping):
        for own, inner in value.items():
            yield from _secrets_of(str(name_in(value, own)), inner, within=within or bool(kind_of(name)))
    elif isinstance(value, list | tuple):
        for own, inner in value if is_listed(value) else [(name, inner) for inner in value]:
            yield from _secrets_of(own, inner, within=within or bool(kind_of(name)))
    elif is_secret(name, value) or (within and isinstance(value, str) and looks_random(value)):
        yield str(value)


def _password(text: str) -> str | None:
    try:
        found = urlsplit(text).password
    except ValueError:
        return None
    return None if found is None else unquote(found)


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be written: as it is, in JSON (also in JSON within JSON), in Python, XML, a URL, Base64."""
    for text in {secret, secret.strip()}:
        if len(text.strip()) < (A_WORD if text.isalpha() and text.islower() else SHORTEST):
            continue
        yield text
        written = {text, repr(text)[1:-1], *_in_markup(text)}
        yield from written
        for _ in range(NESTED + 1):  # What is looked through is JSON itself.
            written = {json.dumps(each, ensure_ascii=ascii)[1:-1] for each in written for ascii in (False, True)}
            yield from written
        yield from _in_urls(text)
        for coded in _in_base64(text.encode("utf-8", "surrogatepass")):
            yield coded
            yield from _in_urls(coded)


def _in_markup(text: str) -> Iterator[str]:
    for escaped in (html.escape(text, quote=False), html.escape(text)):
        yield from (escaped, escaped.replace("&#x27;", "&#39;"), escaped.replace("&#x27;", "&apos;"))


def _in_urls(text: str) -> Iterator[str]:
    for written in (quote(text, "", errors="surrogatepass"), quote(text, errors="surrogatepass")):
        yield written
        yield _ESCAPED_BYTE.sub(lambda found: found[0].lower(), written)
    yield quote_plus(text, errors="surrogatepass")


def _in_base64(secret: bytes) -> Iterator[str]:
    """What is the same in Base64 wherever the secret stands and whatever stands around it."""
    for before in range(3):
        # A character holds six bits: those shared with what stands around belong to both, and are left out.
        first, last = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + secret).decode()[first:last]


_ESCAPED_BYTE = lazy_pattern("%[0-9A-F]{2}")
