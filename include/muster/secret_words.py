"""Which names say that what they name is secret.

One rule for names, however they are written: `X-Api-Key`, `xApiKey`, `x_api_key` and `X api key (prod) *` are one. The
last secret's name in it (`HEADS`) says what it names. The words behind that say which one it is (`WHICH`:
`api_key_prod`), that the value is none itself (`ABOUT`: `password_policy`), or what nobody has thought of
(`smtp_password_office`): then the value decides. What is wrongly hidden is lost for good, and what is wrongly kept is
stored for good: where a name is in doubt, only what is no word, number or place is secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeGuard

from muster.patterns import lazy_pattern

Kind = Literal["secret", "texts", "chosen", "typed", "random", "encoded", "pin", ""]
"""What a name says of its value: `secret`; `texts`, where numbers are counts; or nothing. In between the value decides:
`random`, where only what a machine made up is secret; `encoded`, where only the bytes of a key are, written as text;
`typed`, where only what people think up as a password is, and no passport's number; `chosen`, where both are; `pin`,
where only four or five digits are.
"""


def all_of(*lines: str) -> frozenset[str]:
    """The words in these lines."""
    return frozenset(word for line in lines for word in line.split())


class _Head(NamedTuple):
    words: str
    """A pattern; a space stands for what may be between two words."""
    alone: Kind
    """What the name says when nothing stands behind it, or what tells which one it is."""
    with_others: Kind
    """What it says with words behind it that may mean anything."""


_KEYS = "api|private|master|fernet|secret|access|signing|encryption|subscription|shared|ssh|auth"
_TOKENS = "access|refresh|auth|bearer|id|api|session|csrf|xsrf|bot"
HEADS = {
    # Keys come first: in `secret_key` the key is named. Machines make them, and much else is said of keys.
    "key": _Head(rf"(?:{_KEYS}) keys?|(?:api|privater?|geheimer?) (?:schl(?:ü|ue)ssel)", "secret", "random"),
    "some_key": _Head(r"(?:anthropic|azure|consumer|cosmos|deepl|decryption|hmac|openai|stripe) keys?", "random", ""),
    # Also the path of what is stored, or the number of a customer.
    "encoded_key": _Head(r"(?:account|app|application|storage) keys?", "encoded", ""),
    "password": _Head(
        r"(?:passw(?:or[dt]|d)|passphrase|passcode|pwd|secret)s?|kennwort|(?:pass|kenn)w(?:ö|oe)rter"
        r"|(?:wlan|wifi|wpa) (?:key|schl(?:ü|ue)ssel)",
        "secret",
        "chosen",
    ),
    "token": _Head(rf"(?:{_TOKENS}) tokens?", "secret", "random"),
    # Also a page's or a lease's (`_OTHER_TOKENS`), and language models count them.
    "some_token": _Head("token", "texts", "random"),
    # A mountain's, a ticket's or a run's, unless it is one of `_HAVE_PASSWORDS`.
    "pass": _Head("pass|pw", "texts", "chosen"),
    # A key that people think up and share; also how a signal is modulated.
    "psk": _Head("psk", "chosen", "chosen"),
    # A card's; also a board's, a map's, or a post office's, so no text is looked through for it.
    "pin": _Head("(?<![a-z])pin", "pin", ""),
    # A scholar's, a clearance, a biscuit.
    "credential": _Head("credentials?", "random", ""),
    "header": _Head("authorization|cookie", "random", ""),
}
_OTHER_TOKENS = (
    *("page", "next", "previous", "continuation", "sync", "delta", "cursor", "change", "attempt", "lease", "fence"),
    *("fencing", "claim", "run", "step", "work", "order"),
)
_HEADERS = lazy_pattern(r"(?:x|http|proxy|set)*")
"""What stands before `authorization` and `cookie` where they are headers."""
_HAVE_PASSWORDS = all_of(
    # Who logs in.
    "admin benutzer konto login root sa sudo user usr",
    # Where one logs in.
    "amqp api app bind broker database datenbank db docker email exchange ftp git host http https imap jdbc kafka",
    "ldap mail mailbox mongo mongodb mqtt mssql mysql nexus odbc ora oracle pg pgsql pop postgres postgresql proxy",
    "rabbit rabbitmq redis registry rsync sap server service sftp smb smtp sql ssh svc sys system unix vpn web wifi",
    "windows wlan wp",
    # What is locked.
    "cert key keystore master pdf pfx truststore zip",
)
"""What has a password, so that a `pass` of it is one: `smtp_pass`, `dbpass`, and no `reisepass`."""
_OTHER_PASSES = all_of(
    "all alpen annual boarding bus by city day dry eng final first gate hall high im impf last low month monthly",
    "mountain multi new next one over previous rail reise season second single ski third travel two under week weekly",
    "year yearly",
)
"""What stands before a `pass` that is never a password: `boarding_pass`."""
WHICH = all_of(
    # Which of several.
    "new old current original previous primary secondary backup main default fallback alternate spare temp temporary",
    "initial confirm confirmation confirmed repeat repeated again copy for neu neues alt altes aktuell wiederholen",
    "wiederholung bestaetigen bestaetigung fuer",
    # How it is written.
    "value values text string plain raw hex base encoded encrypted hash hashed digest salt pem der pkcs",
    # Where it holds.
    "prod production preprod live stage staging dev develop development test testing sandbox qa uat ci local demo eu",
    "us",
)
"""Words that tell, behind a secret's name, which secret it is."""
ABOUT = all_of(
    # What somebody counts or measures.
    "anzahl average bits budget cost count counts entropy index laenge len length limit limits max min number numbers",
    "percent position price quota ratio remaining size staerke sum total usage used",
    # What it is called, where it is written and who looks after it.
    "alias arn class cmd column command comment conn connection dir directory endpoint env field file filename",
    "fingerprint folder form format handler header holder href id ids issuer item kind label link location manager",
    "name names owner page param parameter path placeholder provider ref reference role scope scopes screen",
    "sock symbol title typ type types uri url username var variable version",
    "category group groups gruppe level queue template templates vorlage",
    # When it changes, and what must be done with it.
    "audit hashing scanning standard ticket tickets tool training",
    "ablauf aendern age algorithm alter attempts based birthday change changed check checked cipher complexity",
    "created curve date datum days deadline description disabled enabled error errors exists expired expires",
    "expiration expiry failures forgotten free frage geaendert gueltig help hinweis hint history hours invalid issued",
    "known last less lifetime match matches message method minutes missing mode needed note notes optional pattern",
    "pflicht policies policy present prompt protected question recovery regel regeln regex request requested required",
    "requirement requirements reset revoked richtlinie rotated rotation rule rules seconds set since state status",
    "strength time timestamp tries ttl until updated valid validity verification verified vergessen window",
    # What only sounds so.
    "agent ballot ingredient santa",
)
"""Words that tell, behind a secret's name, that the value is none itself. No place, system or country is among them:
`api_key_at` may be Austria's.
"""
PIN = r"\d{4,5}"
"""What a card's or a door's is; a text of more digits is a postal code or a customer's number."""
LONGEST = 100
"""Characters of a name; what is longer is a text."""
ODD = 4
"""Characters of a name at most that JSON escapes, such as quotes and line breaks."""
BEHIND = 40
"""Characters behind a secret's name in a text that may still belong to it."""
_LABEL = 3
"""Words that what a form calls a field has at most; what has more is a sentence."""
NAMING = ("name", "key", "header", "field", "variable", "parameter")
"""Words for what the value beside it is called: `{"name": "password", "value": ...}`."""
VALUES = ("value", "values", "content", "contents")
_NAMING = frozenset(NAMING)
_VALUES = frozenset(VALUES)

_GAP = r"[ \xa0._/-]{0,2}"
NAME = "(?:" + "|".join(head.words for head in HEADS.values() if head.alone != "pin").replace(" ", _GAP) + ")"
"""Every secret's name there is, as it stands in a text; a word may go on behind it."""
_HEAD = lazy_pattern(
    "(?:"
    + "|".join(f"(?P<{name}>(?i:{head.words.replace(' ', _GAP)}))" for name, head in HEADS.items())
    # The end of a word, in `passwordNew` and `APIKeyProd` too.
    + r")\d*(?![a-zäöüß])(?!(?<=[A-Z])[A-Z](?![a-z]))"
)
_WORD = lazy_pattern(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
_ESCAPED = lazy_pattern(r"[\"\\\x00-\x1f\ud800-\udfff]")
_REMARK = lazy_pattern(r"\s[(\[<].*", re.DOTALL)
"""What a form says in brackets behind the name of a field."""
_IDENTIFIER = lazy_pattern(r"[\w.-]+")
_EDGES = lazy_pattern(r"\A[\W_]+|[\W_]+\Z")
_DICTIONARY = all_of(
    "kennwort pass passcode passphrase password passwords passwort secret secrets token",
)

_RANDOM = lazy_pattern(r"\d[^\W\d_]|[\w+/]{11}=\Z")
_ENCODED = lazy_pattern(r"[\w+/-]{15,}={1,2}|(?=\w*\d)(?=\w*[a-z])(?=\w*[A-Z])\w{20,}")
_UNLIKE_PROSE = lazy_pattern(r"\d|\w[!#$%@^~]\w")
_EMPHASIS = lazy_pattern(r"\A[*_`]+|[*_`]+\Z")
_DATE = lazy_pattern(r"\d{4}-\d\d-\d\dT\d\d:")
_NO_PASSWORD = lazy_pattern(
    r"[^\s@]+@[\w-]+(?:\.[\w-]+)+"  # An address.
    r"|(?:[\w-]+\.)+[A-Za-z]{2,}(?::\d+)?"  # A host, a module, a file.
    r"|[\w.-]+(?:/[\w.-]*)+|[\[{<$/~].*|\w+://.*"  # A path, a list, a blank to fill in.
    r"|\d{4}-\d\d-\d\dT.*"
    r"|[a-z]+\d{1,2}|[a-z\d]+(?:[._-][a-z\d]+)+"  # What people number, or what programs are told: `aberg2`, `it-2fa`.
)
_IN_JSON = lazy_pattern(r"\\+u[0-9a-fA-F]{4}")
"""A letter as JSON may write it within a text."""
_MARKED = lazy_pattern(r"[!#$%&*+=?@^~]")
_SCHEME = lazy_pattern(
    r"\s*(?:aws4-[\w-]+|basic|bearer|dpop|gnap|hawk|hmac[\w-]*|negotiate|ntlm|oauth|scram-[\w-]+|splunk|ssws|vapid"
    r"|[\w-]*(?:key|token))\s+\S+\s*|\s*(?:digest|signature)\s+\S*=\S*\s*",
    re.IGNORECASE,
)


def kind_of(name: str, *, listed: bool = False) -> Kind:
    """What a name says of its value. One that is `listed` beside its value, as in `[["password", "..."]]`, may be a
    glossary's or a question: then the value decides, unless it is an identifier such as `X-Api-Key`.
    """
    return _kind(name, listed) if len(name) <= LONGEST else ""


@lru_cache(maxsize=8192)
def _kind(name: str, listed: bool) -> Kind:
    if len(_ESCAPED.findall(name)) > ODD:
        return ""
    last: tuple[str, Kind, Kind, int] | None = None
    for found in _HEAD.finditer(name):
        head = found.lastgroup or ""
        if kinds := _kinds(head, name[: found.start()], found[head]):
            last = (head, *kinds, found.end())
    if last is None:
        return ""
    head, alone, with_others, end = last
    words, is_for = _words_behind(name[end:])
    if not ABOUT.isdisjoint(words):
        return ""
    tell_which = all(word in WHICH or word.isdigit() or len(word) == 1 for word in words)
    kind = alone if tell_which and (head != "some_token" or not (words or is_for)) else with_others
    in_doubt = _is_sentence(name) or (listed and _is_word(name))
    return "chosen" if in_doubt and kind in ("secret", "texts") else kind


def _kinds(head: str, before: str, said: str) -> tuple[Kind, Kind] | None:
    """What a secret's name says alone and with others behind it; nothing where what is before it denies it."""
    plain = "".join(_words(before))
    if head == "some_token" and plain.endswith(_OTHER_TOKENS):
        return None
    if head == "header" and not _HEADERS.fullmatch(plain):
        return None
    alone, with_others = HEADS[head].alone, HEADS[head].with_others
    if head == "pass":
        return _of_pass(before, said)
    return ("texts" if alone == "secret" and said.lower().endswith(("s", "rter")) else alone), with_others


def _of_pass(before: str, said: str) -> tuple[Kind, Kind] | None:
    alone, with_others = HEADS["pass"].alone, HEADS["pass"].with_others
    *others, last = [word for word in _words(before + said) if not word.isdigit()]
    said = said.lower()
    glued = last.removesuffix(said)
    owner = glued or (others[-1] if others else "")
    if said == "pass" and owner in _HAVE_PASSWORDS:
        return alone, with_others
    if said == "pass" or len(owner) < 2:
        return None if glued or owner in _OTHER_PASSES else ("typed", with_others if said == "pw" else "")
    return alone, with_others


def _words_behind(rest: str) -> tuple[list[str], bool]:
    """The words behind a secret's name, and whether `for` is there: behind it stands what it is for, in any words."""
    words = _words(_REMARK.sub("", rest))
    is_for = next((place for place, word in enumerate(words) if word in ("for", "fuer")), None)
    return words[:is_for], is_for is not None


def _is_sentence(name: str) -> bool:
    return "?" in name or len(_REMARK.sub("", name).split()) > _LABEL


def _is_word(name: str) -> bool:
    """True for what stands in a dictionary or in a sentence, whatever is around it: `Password *`, `API key`."""
    plain = _EDGES.sub("", name)
    return plain.lower() in _DICTIONARY or not _IDENTIFIER.fullmatch(plain)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name.translate(_UMLAUTS))]


def tells(kind: Kind, value: str) -> bool:
    """True when a text under a name of this kind is secret."""
    if kind not in IN_DOUBT:
        return kind != ""
    return holds_key(kind, value) or (kind in ("chosen", "typed") and _looks_chosen(value))


def is_secret(name: object, value: object, *, listed: bool = False) -> bool:
    """True when a value, or something in it, is to be hidden because of its name. A truth value tells nobody a secret,
    and a model that declares one could not be read back.
    """
    if not isinstance(name, str) or value is None or value in ("", [], {}, ()) or isinstance(value, bool):
        return False
    kind = kind_of(name, listed=listed)
    if isinstance(value, int | float):
        return kind == "secret"
    if kind not in IN_DOUBT:
        return bool(kind)
    if isinstance(value, list | tuple):
        return any(is_secret(name, inner, listed=listed) for inner in value)
    return isinstance(value, str) and (tells(kind, value) or says_whose(name, value))


IN_DOUBT = ("chosen", "typed", "random", "encoded", "pin")
"""Kinds of names under which the value decides."""


def says_whose(name: str, value: str) -> bool:
    """True for what a header says that tells a server who asks: `Authorization: Bearer x`."""
    return _EDGES.sub("", name).lower().endswith("authorization") and _SCHEME.fullmatch(value) is not None


def is_listed(values: Sequence[object]) -> TypeGuard[Sequence[tuple[str, object]]]:
    """True for names with their values, as HTTP clients list headers: `[["Authorization", "Bearer x"]]`."""
    return bool(values) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in values
    )


def name_in(values: Mapping[Any, object], key: object) -> Any:
    """By which name the value of a key is judged: the key, or what stands beside it where the mapping is such a pair
    as Kubernetes and lists of headers have, `{"name": "password", "value": ...}`.
    """
    if not isinstance(key, str) or kind_of(key) or _last(key) not in _VALUES:
        return key
    beside = (name for other, name in values.items() if isinstance(name, str) and _last(other) in _NAMING)
    return next((name for name in beside if kind_of(name)), key)


def _last(key: Any) -> str:
    """The word that a key ends with."""
    words = _words(key[-LONGEST:]) if isinstance(key, str) and key[-1:].isalpha() else []
    return words[-1] if words else ""


def looks_random(text: str) -> bool:
    """True when a word of the text is none that people write: `k7Qx9fZZ`, not `europe-west1` nor `2026-11-22`."""
    text = _IN_JSON.sub("x", text)
    return any(len(word) >= 8 and _RANDOM.search(word) and not _DATE.match(word) for word in text.split())


def holds_key(kind: Kind, text: str) -> bool:
    """True when what a name in doubt says may be a key, and a word of the text is made up by a machine."""
    if kind == "encoded":
        return any(map(_ENCODED.fullmatch, text.split()))
    if kind == "pin":
        return re.fullmatch(PIN, text) is not None
    return kind != "typed" and looks_random(text)


def is_said(word: str) -> bool:
    """True for a word that gives a secret away in a sentence about it: `Sommer2024!`, `hunter2`, and no address."""
    word = _EMPHASIS.sub("", word)
    if "://" in word or not _UNLIKE_PROSE.search(word):
        return False
    return tells("chosen", word) or re.fullmatch(r"[a-z]{4,}\d{1,2}", word) is not None


def _looks_chosen(text: str) -> bool:
    """True for one word that people think up to keep others out, `Sommer2024!`, not `summer`, `INV-2024-001`, `Q4/2026`
    nor `db1.example.com`.
    """
    word = _IN_JSON.sub("x", text).strip().rstrip(".,:;!?")
    if len(text.strip()) < _SHORTEST or len(word.split()) != 1 or _NO_PASSWORD.fullmatch(word):
        return False
    if re.search(r"[a-z]", word) and re.search(r"\d", word):
        return True
    return _MARKED.search(word) is not None and re.search(r"[^\W\d_]", word) is not None


_SHORTEST = 6
"""Characters of what people choose as a password."""
