"""Which names say that what they name is secret.

One rule for names, however they are written: `X-Api-Key`, `xApiKey`, `x_api_key` and `api key 2` are one name. What
it says with its last words it says with further words behind them too, as in `api_key_prod` and `passwordNew`, unless
one of those says that the value is about a secret: `password_policy`, `token_count`, `private_key_path`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

KEYS = "api|private|master|fernet|secret|access|signing|encryption|subscription|shared|ssh|auth"
_ALWAYS = f"password|passwd|passphrase|passcode|pwd|secret|(?:{KEYS})key"
_TOKENS = "access|refresh|auth|bearer|id|api|session|csrf|xsrf|bot"
_OTHER_TOKENS = (
    "page next previous continuation sync delta cursor change attempt lease fence fencing claim run step work order"
)
_SECRET = re.compile(rf"(?:{_ALWAYS}|(?:{_TOKENS})token)\d*$")
_SECRETS = re.compile(rf"(?:{_ALWAYS}|(?:{_TOKENS})token)s\d*$")
_PERHAPS = re.compile(r"credentials?\d*$|^(?:x|http|proxy)*authorization\d*$|^(?:set)?cookie\d*$")
_TOKEN = re.compile("".join(f"(?<!{word})" for word in _OTHER_TOKENS.split()) + r"token\d*$")
_SHORT = frozenset({"pass", "pw"})
"""Words that mean a password behind another word: `smtp_pass`."""
_OTHER_PASSES = (
    "all boarding bus by day dry final first gate hall last low multi new next one over press previous second season"
    " single ski test third travel two under"
)
_ABOUT = (
    # What somebody counts or measures.
    "average bits budget cost count counts entropy index len length limit limits max min number numbers percent"
    " position price quota ratio remaining size sum total usage used"
    # What it is called, where it stands and who looks after it.
    " alias arn backend class cmd column command conn connection dir directory endpoint engine env event field file"
    " filename folder format handler header host href id ids issuer item kind label link location manager name names"
    " owner page param parameter path placeholder provider ref reference role scope scopes screen sock source store"
    " symbol title type types uri url username var variable vault version"
    # When it changes, and what must be done with it.
    " age algorithm at attempts based birthday change changed check checked created date days deadline description"
    " disabled enabled error errors exists expired expires expiration expiry failures form free help hint hours"
    " invalid issued known last less lifetime match matches message method minutes missing mode needed note notes"
    " optional policies policy present prompt protected question recovery request requested required reset revoked"
    " rotated rotation rule rules seconds set since state status strength time timestamp tries ttl until updated"
    " valid validity verification verified window"
    # What only sounds so.
    " agent ballot ingredient santa"
    # A file of code or settings.
    " html js json md py toml ts yaml yml"
)
_NO_PASSWORD, ABOUT = frozenset(_OTHER_PASSES.split()), frozenset(_ABOUT.split())
"""The words that say, behind a secret's name, that the value is none itself; those before a `pass` that is none."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_IDENTIFIER = re.compile(r"[\w.-]+")
BEHIND = 40
"""Characters behind a secret's name that may still belong to it."""
_NEAR = 4
"""Words that a secret's name has at most."""
_RANDOM = re.compile(r"\d[^\W\d_]|[\w+/]{11}=\Z")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:")
NAMING = ("name", "key", "header", "field", "variable", "parameter")
"""Words for what the value beside it is called: `{"name": "password", "value": ...}`."""
VALUES = ("value", "values", "content", "contents")
_NAMING = frozenset(NAMING)
_VALUES = frozenset(VALUES)


@lru_cache(maxsize=8192)
def kind_of(name: str) -> str:
    """What a name says of its value: `secret`; `texts`, where numbers are counts; `perhaps`, where only what looks
    random is secret since the word has other meanings; or nothing.
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if kind := _ending(plain):
        return kind
    if _PERHAPS.search(plain) or plain in _SHORT:
        return "perhaps"
    return _before_others(_words(name)) if _IDENTIFIER.fullmatch(name) else ""


def _ending(plain: str) -> str:
    """What the end of a name says, whatever stands before."""
    if _SECRET.search(plain):
        return "secret"
    return "texts" if _SECRETS.search(plain) or _TOKEN.search(plain) else ""


def _before_others(words: list[str]) -> str:
    """What a name says with words that have others behind them."""
    if _is_short(words):
        return "texts"
    behind = 0
    for end in range(len(words) - 1, 0, -1):
        behind += len(words[end])
        if behind > BEHIND or words[end] in ABOUT:
            return ""
        plain = "".join(words[max(0, end - _NEAR) : end])
        if kind := _ending(plain):
            return "perhaps" if _TOKEN.search(plain) and kind == "texts" else kind
    return ""


def _is_short(words: list[str]) -> bool:
    named = [word for word in words[-_NEAR:] if not word.isdigit()]
    return len(named) > 1 and named[-1] in _SHORT and named[-2] not in _NO_PASSWORD


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def is_secret(name: Any, value: Any) -> bool:
    """True when a value, or something in it, is to be hidden because of its name. A truth value tells nobody a secret,
    and a model that declares one could not be read back.
    """
    if not isinstance(name, str) or value is None or value in ("", [], {}, ()) or isinstance(value, bool):
        return False
    kind = kind_of(name)
    if isinstance(value, int | float):
        return kind == "secret"
    if kind != "perhaps":
        return bool(kind)
    if isinstance(value, list | tuple):
        return any(is_secret(name, inner) for inner in value)
    return isinstance(value, str) and looks_random(value)


def name_in(values: Mapping[Any, Any], key: Any) -> Any:
    """By which name the value of a key is judged: the key, or what stands beside it where the mapping is such a pair
    as Kubernetes and lists of headers have, `{"name": "password", "value": ...}`.
    """
    if not isinstance(key, str) or kind_of(key) or _last(key) not in _VALUES:
        return key
    beside = (name for other, name in values.items() if isinstance(name, str) and _last(other) in _NAMING)
    return next((name for name in beside if len(name) <= _LONGEST and kind_of(name)), key)


_LONGEST = 100
"""Characters of a name; what is longer is a text."""


def _last(key: Any) -> str:
    words = _words(key[-_LONGEST:]) if isinstance(key, str) else []
    return words[-1] if words else ""


def looks_random(text: str) -> bool:
    """True when a word of the text is none that people write: `k7Qx9fZZ`, not `europe-west1` nor `2026-11-22`."""
    return any(len(word) >= 8 and _RANDOM.search(word) and not _DATE.match(word) for word in text.split())
