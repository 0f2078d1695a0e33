"""Which names say that what they name is secret.

One rule for names, however they are written: `X-Api-Key`, `xApiKey`, `x_api_key` and `api key 2` are one name. Its last
words say what it names. Behind those of a secret there may be words that tell which one it is, as in `api_key_prod` and
`passwordNew`. With another word behind them (`private_key_holder`, `api_key_acme`) nobody can tell, and only what looks
random is secret; with one about secrets (`password_policy`, `token_count`, `private_key_path`) nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeGuard

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
"""Words that mean a password behind another word: `smtp_pass`, `smtppass`."""
_GLUED = re.compile(r"(\w{2,})(?:pass|pw)")
_OTHER_PASSES = (
    "all annual band boarding bus by com day dry encom final first gate guest hall high im last low month monthly multi"
    " new next one over press previous rail season second single ski sur test third travel tres two under visitor week"
    " weekly year yearly"
)
_WHICH = (
    # Which of several.
    "new old current original previous primary secondary backup main default fallback alternate spare temp temporary"
    " initial confirm confirmation confirmed repeat repeated again copy for"
    # How it is written.
    " value values text string plain raw hex base encoded encrypted hash hashed digest salt pem der pkcs"
    # Where it holds.
    " prod production preprod live stage staging dev develop development testing sandbox qa uat ci local demo eu us"
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
_NO_PASSWORD = frozenset(_OTHER_PASSES.split())
"""What stands before a `pass` that is no password: `boarding_pass`, `compass`."""
WHICH = frozenset(_WHICH.split())
"""Words that tell, behind a secret's name, which secret it is."""
ABOUT = frozenset(_ABOUT.split())
"""Words that tell, behind a secret's name, that the value is none itself."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_IDENTIFIER = re.compile(r"[\w.-]+")
BEHIND = 40
"""Characters behind a secret's name that may still belong to it."""
_NEAR = 4
"""Words that a secret's name has at most."""
_RANDOM = re.compile(r"\d[^\W\d_]|[\w+/]{11}=\Z")
_SCHEME = re.compile(r"\s*(?:basic|bearer|digest|token)\s+\S+\s*", re.IGNORECASE)
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
    behind, is_one = 0, True
    for end in range(len(words) - 1, 0, -1):
        word = words[end]
        behind += len(word)
        if behind > BEHIND or word in ABOUT:
            return ""
        # Behind `for` stands what it is for, in any words.
        is_one = word == "for" or (is_one and (word in WHICH or word.isdigit() or len(word) == 1))
        plain = "".join(words[max(0, end - _NEAR) : end])
        if kind := _ending(plain):
            return kind if is_one and not (kind == "texts" and _TOKEN.search(plain)) else "perhaps"
    return ""


def _is_short(words: list[str]) -> bool:
    *before, last = [word for word in words[-_NEAR:] if not word.isdigit()] or [""]
    glued = _GLUED.fullmatch(last)
    whose = glued[1] if glued else before[-1] if before and last in _SHORT else None
    return whose is not None and whose not in _NO_PASSWORD


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
    return isinstance(value, str) and (looks_random(value) or _says_whose(name, value))


def _says_whose(name: str, value: str) -> bool:
    """True for what a header says that tells a server who asks: `Authorization: Bearer x`."""
    return name.lower().endswith("authorization") and _SCHEME.fullmatch(value) is not None


def is_listed(values: Sequence[Any]) -> TypeGuard[Sequence[tuple[str, Any]]]:
    """True for names with their values, as HTTP clients list headers: `[["Authorization", "Bearer x"]]`."""
    return bool(values) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in values
    )


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
