"""Which names say that what they name is secret, and where such a name stands in a text with its value.

One rule for names, however they are written: `X-Api-Key`, `xApiKey`, `x_api_key` and `api key 2` are one name.
A text may hold JSON, also as a string within JSON, YAML, or what Python prints of a mapping: a value ends where the
quote, the bracket, the line or the block ends that it began with. What has no end is secret to the end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

_KEYS = "api|private|master|fernet|secret|access|signing|encryption|subscription|shared|ssh|auth"
_ALWAYS = f"password|passwd|passphrase|passcode|pwd|secret|(?:{_KEYS})key|credential"
_TOKENS = "access|refresh|auth|bearer|id|api|session|csrf|xsrf|bot"
_OTHER_TOKENS = (
    "page next previous continuation sync delta cursor change attempt lease fence fencing claim run step work order"
)
_SECRET = re.compile(rf"(?:(?:{_ALWAYS}|(?:{_TOKENS})token)s?|^(?:x|http|proxy)*authorization|^(?:set)?cookie)\d*$")
_TOKEN = re.compile("".join(f"(?<!{word})" for word in _OTHER_TOKENS.split()) + r"token\d*$")
_QUESTION = re.compile(r"(?:is|has|needs|requires)[_A-Z-]")

WORDS = ("passw", "pwd", "passphrase", "passcode", "secret", "key", "token", "credential", "authoriz", "cookie")
"""A text in small letters that holds none of these names nothing secret."""
_GAP = r"[^a-z0-9\"'\\\n:=,]{0,2}"
_NAME = rf"(?:passw(?:or)?d|passphrase|passcode|pwd|secret|(?:{_KEYS}){_GAP}key|credential|token|authorization|cookie)"
MAY_BE_NAMED = re.compile(rf"{_NAME}s?[-_ ]?\d*\\*[\"']?\s*[:=](?!(?<=\"token\":)-?[\d.]+[,}}])")
"""Is found in every text in small letters, JSON or not, in which `named` or `is_secret` finds something."""

_NAMED = re.compile(
    rf"(?<![\w.-])(?P<name>[\w.-]*{_NAME}s?[-_ ]?\d*)(?P<close>\\*[\"'])?\s*(?P<sep>[:=])>?[ \t]*", re.IGNORECASE
)
_MARK = re.compile(r"(?<!\\)\\*[\"']|[][(){},\n]")
_SLASHED = {quote: re.compile(rf"(?<!\\)(\\*){quote}") for quote in "\"'"}
_QUOTE = re.compile(r"[bBrRuUfF]{0,2}(\\*[\"'])")
_PLAIN = re.compile(r"(?:[^\s\"'&;,\\]|\\(?!\\*[\"'nrt]))+")
_INLINE = re.compile(r"[^\s,;\"'\\})\]]+")
_NO_WORD = re.compile(r"\d|[a-z][A-Z]|[!@#$%^&*+=/_~]")
_BLOCK = re.compile(r"(?:[|>][-+\d]*[ \t]*)?(?:#.*)?")
_STRING = re.compile(r"(?:(?P<mark>(?<!\\)\\*[\"'])\w|(?P<line>(?<!\\)\\+)[nr])\Z")
"""Before a name: the quote that begins the string it stands in, or the escaped end of a line in one."""
_NOTHING = frozenset({"", "null", "None", "~", "[redacted]"})
_AFTER_COMMA = ("", " ", "\t", "\n", "\r", '"', "'", "\\")
_PROSE = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "can",
        "cannot",
        "for",
        "from",
        "has",
        "have",
        "if",
        "in",
        "is",
        "it",
        "may",
        "must",
        "no",
        "not",
        "of",
        "on",
        "one",
        "or",
        "please",
        "see",
        "should",
        "that",
        "the",
        "they",
        "this",
        "to",
        "too",
        "was",
        "were",
        "which",
        "who",
        "will",
        "with",
        "wrong",
        "you",
        "your",
    ]
)


class Span(NamedTuple):
    """Where a secret value stands in a text."""

    start: int
    end: int
    quote: str
    """What must stand around the word that takes the value's place."""


@lru_cache(maxsize=8192)
def kind_of(name: str) -> str:
    """`secret`, `token` where only a text is secret since tokens are counts too, or nothing."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return "secret" if _SECRET.search(plain) else "token" if _TOKEN.search(plain) else ""


def is_secret(name: Any, value: Any) -> bool:
    """True when what the name stands for is to be hidden: texts, numbers and truth values, also within lists."""
    if not isinstance(name, str) or value is None or value in ("", [], {}, ()):
        return False
    kind = kind_of(name)
    if isinstance(value, bool):
        return kind == "secret" and not _QUESTION.match(name)
    return kind == "secret" or (kind == "token" and not isinstance(value, int | float))


def named(text: str) -> Iterator[Span]:
    """The values that a name in the text calls secret, from left to right."""
    position = 0
    while found := _NAMED.search(text, position):
        position = found.end()
        kind = kind_of(found["name"])
        span = _value(text, found) if kind else None
        if span is None or _left_alone(found["name"], kind, text[span.start : span.end]):
            continue
        yield span
        position = max(span.end, position)


def _left_alone(name: str, kind: str, value: str) -> bool:
    plain = value.strip()
    if plain in _NOTHING or (kind == "token" and re.fullmatch(r"-?[\d.]+", plain)):
        return True
    return plain.lower() in ("true", "false") and _QUESTION.match(name) is not None


def _value(text: str, found: re.Match[str]) -> Span | None:
    start, close = found.end(), found["close"] or ""
    if not close and found["name"].lower().endswith("authorization"):
        return None  # The scheme before it tells a header from a sentence: that is looked for elsewhere.
    if quoted := _QUOTE.match(text, start):
        return _quoted(text, quoted, to_the_end=bool(close))
    if found["sep"] == "=":
        plain = _PLAIN.match(text, start)
        return Span(start, plain.end(), "") if plain else None
    before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
    if close:
        end = _end(text, start, len(close) - 1)
        opened = _BLOCK.fullmatch(text[start:end].strip()) is not None
        return _of_line(text, start, len(before) - 1) if opened else Span(start, end, close)
    if not before.strip(" \t-"):
        return _of_line(text, start, len(before))
    if around := _STRING.search(before + found["name"][0]):
        mark = around["mark"] or around["line"][1:] + '"'
        return _of_escaped_line(text, start, mark)
    if text[start : start + 1] in ("[", "{") or before.rstrip()[-1:] in ("{", ","):
        return Span(start, _end(text, start, 0), "")
    inline = _INLINE.match(text, start)
    return Span(start, inline.end(), "") if inline and _NO_WORD.search(inline[0]) else None


def _quoted(text: str, opening: re.Match[str], *, to_the_end: bool) -> Span:
    mark, start = opening[1], opening.end()
    end = _closing(text, start, mark)
    if end < 0:
        line = text.find("\n", start)
        end = len(text) if to_the_end or line < 0 else line
    return Span(start, end, "")


def _closing(text: str, start: int, mark: str) -> int:
    """Where the quote stands that ends what `mark` began; -1 when it does not end."""
    unit, position = len(mark), start
    while found := _SLASHED[mark[-1]].search(text, position):
        position = found.end()
        # A string within strings has 1, 3, 7 ... backslashes before its quotes, and twice one more for its own each.
        more = len(found[1]) - (unit - 1)
        if more < 0 or more % (2 * unit):
            continue
        if mark == "'" and text[position : position + 1] == "'":
            position += 1  # YAML writes a quote within quotes as two.
            continue
        return position - unit
    return -1


def _end(text: str, start: int, level: int) -> int:
    """Where a value ends that brackets, strings and commas bound; `level`: backslashes before each of its quotes."""
    depth, position = 0, start
    while found := _MARK.search(text, position):
        mark, position = found[0], found.end()
        if mark[-1] in "\"'":
            if len(mark) - 1 < level:
                return found.start()
            end = _closing(text, position, mark)
            position = len(text) if end < 0 else end + len(mark)
        elif mark in "[{(":
            depth += 1
        elif mark in ")}]":
            if depth == 0:
                return found.start()
            depth -= 1
            if depth == 0:
                return found.end()
        elif depth == 0 and (mark == "\n" or text[position : position + 1] in _AFTER_COMMA):
            return found.start()
    return len(text)


def _of_escaped_line(text: str, start: int, mark: str) -> Span | None:
    """A YAML value within a string that `mark` ends: its line, or the rest where lines of its own may follow."""
    end = _closing(text, start, mark)
    if end < 0:
        end = text.find("\n", start)
    end = len(text) if end < 0 else end
    line = re.compile(rf"(?<!\\)\\{{{len(mark)}}}[nr]").search(text, start, end)
    value = text[start : line.start() if line else end]
    if not _BLOCK.fullmatch(value.strip()):
        end = start + len(value)
    return None if _is_prose(value) else Span(start, end, "")


def _of_line(text: str, start: int, indent: int) -> Span | None:
    """A YAML value: the rest of its line and the lines that are indented further."""
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    first = text[start:line_end].strip()
    if _is_prose(first):
        return None
    opened = _BLOCK.fullmatch(first) is not None
    end = line_end
    while end < len(text):
        following = text.find("\n", end + 1)
        following = len(text) if following < 0 else following
        line = text[end + 1 : following]
        depth = len(line) - len(line.lstrip(" \t"))
        if line.strip() and depth <= indent and not (opened and depth == indent and line.lstrip().startswith("- ")):
            break
        end = following
    return Span(start, end, "") if text[start:end].strip() else None


def _is_prose(line: str) -> bool:
    first, *more = line.split(maxsplit=1) or [""]
    return bool(more) and first.lower() in _PROSE
