"""Where in a text a secret's name stands with its value.

A text may hold JSON, also as a string within JSON, YAML, or what Python prints of a mapping: a value ends where the
quote, the bracket, the line or the block ends that it began with. What has no end is secret to the end of the text.

Looking takes time that grows with the length of a text and no faster, whatever it holds: what is found and then left
alone has been judged by what stands right beside its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from muster.patterns import lazy_pattern
from muster.secret_words import (
    BEHIND,
    IN_DOUBT,
    LONGEST,
    NAME,
    NAMING,
    ODD,
    Kind,
    all_of,
    holds_key,
    is_said,
    kind_of,
    says_whose,
    tells,
)

_NOTHING_ELSE = lazy_pattern(r"passw|passphrase|passcode|pwd|secret|(?:api|private|master|fernet).?key", re.IGNORECASE)
"""Names that also in a sentence mean what must stay secret: a shared key may be a key ring, a token a voucher."""

WORDS = ("pass", "pw", "secret", "key", "token", "credential", "authoriz", "cookie", "kennw", "schl", "psk")
"""A text in small letters that holds none of these names nothing secret."""
_BEHIND = rf"[\w.-]{{0,{BEHIND + 9}}}(?: \d{{1,4}})?"
"""The words behind a secret's name, and what stands between them: bounded, so that looking takes time in proportion."""
REST = rf"[^\w.\-\"'\\\x00-\x1f:=][^\"'\\\x00-\x1f:=]{{0,{LONGEST}}}+"
"""What else the quotes around a name may hold: `"Password (repeat) *"`."""
PLAIN_REST = r"(?: [^,:=\"'\\{}\[\]\x00-\x1f]{0,60}+)?"
"""The same without quotes, up to the comma of a list."""
_AFTER = r" {0,2}(?:[*)\]]{1,3}|\([^()\"'\\\x00-\x1f]{0,40}\))"
"""What a form writes behind the name of a field."""
_END_OF_LIST = lazy_pattern(r" {0,2}\*?[)\]]")
"""The end of a bracket that was opened before the name: what stands in it may be a list of things that a text names."""
_RUN = rf"[^\"\\]{{0,{2 * LONGEST}}}"  # In small letters a character may be two.
_BEFORE_NAME = rf"{_RUN}?(?:\\.{_RUN}?){{0,{ODD}}}?"
_BEHIND_NAME = rf"{_RUN}+(?:\\.{_RUN}+){{0,{ODD}}}+"
_SPACE = r"(?:\s|\\+(?:[nrtf]|u00[01][0-9a-f]))"
"""Also as JSON writes it within a text."""
MAY_BE_NAMED = lazy_pattern(
    # In a text.
    rf"{NAME}{_BEHIND}(?:(?:(?:{REST})?[:=]?\\*[\"']|{_AFTER})?{_SPACE}*+[:=](?!(?<=\"token\":)-?[\d.]+[,}}])"
    r"|\\*[\"'](?!\s*:)|\n|\\+[nr]|[<>]|&[lg]t;)"
    rf"|(?:{'|'.join(NAMING)})\\*[\"']?{_SPACE}*+[:=]{_SPACE}*+[bru]?\\*[\"']?[\w.-]{{0,{BEHIND}}}{NAME}"
    rf"|<[\w.:-]{{0,{BEHIND}}}?{NAME}"
    rf"|[\[(]{_SPACE}{{0,60}}[\w.-]{{0,{BEHIND}}}?{NAME}{_BEHIND}{PLAIN_REST}{_SPACE}{{0,60}},"
    rf"|[\[(]{_SPACE}{{0,60}}[bru]?\\*[\"'][^\"'\\\n]{{0,{LONGEST}}}?{NAME}[^\"'\\\n]{{0,{LONGEST}}}+"
    rf"\\*[\"']{_SPACE}{{0,60}},"
    rf"|- - [^\\\n]{{0,{LONGEST}}}?{NAME}"
    # An option of a command.
    rf"|(?<!-)--[\w.-]{{0,{BEHIND}}}?{NAME}"
    # In JSON: a key, the first of two in a list, what a `name` says.
    rf"|{NAME}{_BEHIND_NAME}\"\s*:(?!(?<=\"token\":)-?[\d.]+[,}}])"
    rf"|\[\"{_BEFORE_NAME}{NAME}{_BEHIND_NAME}\","
    rf"|(?:{'|'.join(NAMING)})\":\"{_BEFORE_NAME}{NAME}"
)
"""Is found in every text in small letters, JSON or not, in which `named`, `is_secret` or `name_in` finds something."""

_NAMED = lazy_pattern(
    rf"(?<![\w.-])(?P<name>[\w.-]*{NAME}{_BEHIND})"
    rf"(?:(?:{REST})?[:=]?(?P<close>\\*[\"'])|(?P<after>{_AFTER}))?\s*(?P<sep>[:=])>?[ \t]*",
    re.IGNORECASE,
)
_MARK = lazy_pattern(r"(?<!\\)\\*[\"']|[][(){},\n]")
_SLASHED = {quote: lazy_pattern(rf"(?<!\\)(\\*){quote}") for quote in "\"'"}
_MORE = lazy_pattern(r"[<>{}=,]")
"""In quotes, tells a document or a list that holds a name from the name."""
_CLOSED = lazy_pattern(r"([^\"'\\\n]*)\\*(?=[\"'])")
QUOTE = lazy_pattern(r"[bBrRuUfF]{0,2}(\\*[\"'])")
_PLAIN = lazy_pattern(r"(?:[^\s\"'&;,\\]|\\(?!\\*[\"'nrt]))+")
_INLINE = lazy_pattern(r"[^\s,;\"'\\})\]]+")
_ALONE = lazy_pattern(r"([^\s,{}\[\]]+?)(?=\\*[\"']?[ \t]*(?:[,})\]\n]|\Z))")
_PLAIN_FLOW = lazy_pattern(r"[^,{}\[\]\"'\\\n]+(?=[,}\n]|\Z)")
_OPENING = lazy_pattern(r"\[?[ \t]*(?:[bBrRuUfF]{0,2}\\*[\"'])?")
_VALUE_IN_DOUBT = {":": lazy_pattern(r"[^\n\"'\\{}]*"), "=": lazy_pattern(r"[^\s\"'\\{}&;,]*")}
_ONE = lazy_pattern(r"([^\s,\"'\\{}\[\]]+)[ \t]*(?:[,})\]\n\"'\\&;]|#|\Z)")
NO_WORD = lazy_pattern(r"\d|[a-z][A-Z]|[!@#$%^&*+=/_~]")
_KEY = lazy_pattern(r"\s*[^\s:][^:]{0,60}:(?:\s|\Z)")
_BLOCK = lazy_pattern(r"(?:[|>][-+\d]*[ \t]*)?(?:#.*)?")
_ESCAPE = lazy_pattern(r"\\[nrt]\Z")
_STRING = lazy_pattern(r"(?:(?P<mark>(?<!\\)\\*[\"'])\w|(?P<line>(?<!\\)\\+)[nr])\Z")
"""Before a name: the quote that begins the string it stands in, or the escaped end of a line in one."""
_PLAIN_PART = lazy_pattern(r"[A-Z]?[a-z]+|[A-Z]+|\d+|")
_BEFORE = 64
"""Characters before a name that tell what it stands in: five strings within one another need 32."""
_INDENT = 400
"""Characters before a name that can still be the indent of its line."""
_JUDGED = 512
"""Characters of a value that tell whether it looks like a secret."""
_HIDDEN = "[redacted]"
_NOTHING = frozenset({"", "null", "None", "~", _HIDDEN})
_AFTER_COMMA = ("", " ", "\t", "\n", "\r", '"', "'", "\\")
_FIRST_WORD = lazy_pattern(r"[ \t]*([^\W\d_]{1,11})(?:[ \t]+\S|[ \t]*(?:[.,;)}\n\"'\\]|\Z))")
_PROSE = all_of(
    "a an and are as at be but can cannot for from has have if in is it may must no not of on one or please see should",
    "that the they this to too was were which who will with wrong you your",
    "am auf aus bei beim bitte das dem den der die ein eine fehlt folgt gilt hat im ist kann kein keine kommt liegt",
    "mit muss nach nicht noch nur per siehe sind soll um und unter vom von vor war werden wie wird wurde zu zum zur",
    "changed closed completed done expired failed forgotten invalid missing pending required sent solved unchanged",
    "erledigt fertig geändert gelöst geschlossen offen unbekannt ungültig vergessen verschickt versandt",
)
"""Words that a sentence begins with, or is, and no password."""
_LABEL = lazy_pattern(r"(?=.*[a-zäöüß])[A-ZÄÖÜ][^\W_]*(?:[ \xa0-][^\W_]+)*")
_SEVERAL = lazy_pattern(r"[ \t]*(?![!|>&\[{#])(?:[^\s\"'\\]|\\+u[0-9a-fA-F]{4})+[ \t]+[^\s\"'\\#]")
_SENTENCE = lazy_pattern(r"(?:[^\n\"'\\{}]|\\+u[0-9a-fA-F]{4})*")
_SAID = lazy_pattern(r"[^\s,;()\[\]<>*=]+=*")


class Span(NamedTuple):
    """Where a secret value stands in a text."""

    start: int
    end: int
    quote: str
    """What must stand around the word that takes the value's place."""


def named(text: str) -> Iterator[Span]:
    """The values that a name in the text calls secret, from left to right."""
    position = seen = line = 0
    while found := _NAMED.search(text, position):
        line = max(line, text.rfind("\n", seen, found.start()) + 1)
        seen, position = found.start(), found.end()
        # Within a string, the letter of an escaped line break stands right before a name.
        first = found.start() + (_ESCAPE.search(text, max(0, found.start() - 1), found.start() + 1) is not None)
        name = whole(text, first, found.end("name")) if found["close"] else text[first : found.end("name")]
        kind = kind_of(name[-LONGEST:])
        if not kind:
            continue
        in_list = found["sep"] == ":" and _END_OF_LIST.match(found["after"] or "") is not None
        said = text[first : found.end("name")]
        span = _in_sentence(text, found.end()) if in_list else value_of(text, found, kind, line, said)
        if span is None or left_alone(kind, text[span.start : span.end]):
            continue
        yield span
        position = max(span.end, position)


def whole(text: str, start: int, end: int) -> str:
    """All that stands in the quotes around a part of a name, `New password (repeat)`, or else that part."""
    opened = max(text.rfind(mark, max(0, start - LONGEST), start) for mark in "\"'\n")
    closed = _CLOSED.match(text, end, end + LONGEST)
    if opened < 0 or closed is None or text[closed.end() : closed.end() + 1] != text[opened]:
        return text[start:end]
    inside = text[opened + 1 : closed.end(1)]
    return text[start:end] if _MORE.search(inside) else inside


def left_alone(kind: Kind, value: str) -> bool:
    """True for what tells nobody a secret: nothing, a truth value, what was hidden before; of `texts`, a number."""
    plain = value.strip()
    if plain in _NOTHING or plain.lower() in ("true", "false"):
        return True
    return kind == "texts" and re.fullmatch(r"-?[\d.]+", plain) is not None


def value_of(text: str, found: re.Match[str], kind: Kind, line: int, name: str) -> Span | None:
    """The value behind the key `found`, which the name of a kind calls secret; `line`: where the key's line begins."""
    start, close = found.end(), found["close"] or ""
    if text.startswith(_HIDDEN, start):
        return None  # What follows has been judged.
    if not close and name.lower().endswith("authorization"):
        return None  # The scheme before it tells a header from a sentence: that is looked for elsewhere.
    if kind in IN_DOUBT:
        return _in_doubt(text, start, found["sep"], kind, name)
    if quoted := QUOTE.match(text, start):
        return quoted_value(text, quoted, to_the_end=bool(close))
    if found["sep"] == "=":
        plain = _PLAIN.match(text, start)
        return Span(start, plain.end(), "") if plain else None
    indent = found.start("name") - line
    if close:
        if _is_sentence(text, start, name):
            return _in_sentence(text, start)  # No JSON: a title that a text quotes.
        end = end_of(text, start, len(close) - 1)
        opened = _BLOCK.fullmatch(text[start:end].strip()) is not None
        return _of_line(text, start, indent - 1, name, sure=True) if opened else Span(start, end, close)
    sure = _NOTHING_ELSE.search(name) is not None
    if indent <= _INDENT and not text[line : found.start("name")].strip(" \t-"):
        return _of_line(text, start, indent, name, sure=sure)
    before = text[max(line, found.start("name") - _BEFORE) : found.start("name")]
    if around := _STRING.search(before + text[found.start("name")]):
        mark = around["mark"] or around["line"][1:] + '"'
        return _of_escaped_line(text, start, mark, name, sure=sure)
    if text[start : start + 1] in ("[", "{"):
        return Span(start, end_of(text, start, 0), "")
    if before.rstrip()[-1:] in ("{", ","):
        said = _is_prose(text, start)
        if not said and (alone := _ALONE.match(text, start, start + _JUDGED)):
            return Span(start, alone.end(1), "") if sure or is_no_word(alone[1]) else None
        several = _PLAIN_FLOW.match(text, start, start + _JUDGED)
        if sure and several and not _is_sentence(text, start, name) and _is_open(text, line, found.start("name")):
            return Span(start, several.end(), "")
        return _in_sentence(text, start) if sure else None
    if sure and _is_sentence(text, start, name):
        return _in_sentence(text, start)
    inline = _INLINE.match(text, start, start + _JUDGED)
    if inline is None or not NO_WORD.search(inline[0]) or not (sure or is_no_word(inline[0])):
        return None
    rest = _INLINE.match(text, inline.end())
    return Span(start, rest.end() if rest else inline.end(), "")


def _in_doubt(text: str, start: int, separator: str, kind: Kind, name: str) -> Span | None:
    """A value that its name may call secret, when it looks like one."""
    opening, value = _OPENING.match(text, start), _VALUE_IN_DOUBT[separator]
    start = opening.end() if opening else start
    judged = value.match(text, start, start + _JUDGED)
    if judged is not None and (holds_key(kind, judged[0]) or says_whose(name, judged[0])):
        rest = value.match(text, judged.end())
        return Span(start, rest.end() if rest else judged.end(), "")
    alone = _ONE.match(text, start, start + _JUDGED)
    return Span(start, alone.end(1), "") if alone and tells(kind, alone[1]) else None


def is_no_word(value: str) -> bool:
    """True for a single word, unless it is made of plain words and numbers as `INV-2024-001` is."""
    if not value or len(value.split()) > 1:
        return False
    return not all(map(_PLAIN_PART.fullmatch, re.split(r"[-_./:,;#]", value)))


def quoted_value(text: str, opening: re.Match[str], *, to_the_end: bool) -> Span:
    """What stands in the quotes that `opening` begins; what has no end goes on to that of its line, or of the text."""
    mark, start = opening[1], opening.end()
    end = _closing(text, start, mark)
    if end < 0:
        line = text.find("\n", start)
        end = len(text) if to_the_end or line < 0 else line
    return Span(start, end, "")


def _closing(text: str, start: int, mark: str, line: re.Pattern[str] | None = None) -> int:
    """Where the quote stands that ends what `mark` began, or else the `line` that ends before; -1 when neither does."""
    unit, position = len(mark), start
    ends = line or _SLASHED[mark[-1]]
    while found := ends.search(text, position):
        position = found.end()
        if found[1] is None:
            return found.start()
        # A string within strings has 1, 3, 7 ... backslashes before its quotes, and twice one more for its own each.
        more = len(found[1]) - (unit - 1)
        if more < 0 or more % (2 * unit):
            continue
        if mark == "'" and text[position : position + 1] == "'":
            position += 1  # YAML writes a quote within quotes as two.
            continue
        return position - unit
    return -1


def end_of(text: str, start: int, level: int) -> int:
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


def _of_escaped_line(text: str, start: int, mark: str, name: str, *, sure: bool) -> Span | None:
    """A YAML value within a string that `mark` ends: its line, or the rest where lines of its own may follow."""
    if _is_sentence(text, start, name):
        # Before its end is looked for: each line of a long string may begin like this one.
        return _in_sentence(text, start) if sure else None
    line = re.compile(rf"(?<!\\)(?:\\{{{len(mark)}}}[nr]|(\\*){mark[-1]})")
    end = _closing(text, start, mark, line)
    if end >= 0 and _BLOCK.fullmatch(text[start:end].strip()):
        end, sure = _closing(text, start, mark), True
    if end < 0:
        end = text.find("\n", start)
    end = len(text) if end < 0 else end
    return Span(start, end, "") if sure or is_no_word(text[start:end].strip()) else None


def _of_line(text: str, start: int, indent: int, name: str, *, sure: bool) -> Span | None:
    """A YAML value: the rest of its line and the lines that are indented further."""
    if _is_sentence(text, start, name):
        return _in_sentence(text, start) if sure else None
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    first = text[start:line_end].strip()
    opened = _BLOCK.fullmatch(first) is not None
    if not (opened or sure or first[:1] in ("[", "{") or is_no_word(first)):
        return None
    holds_lines = opened or first[:1] in ("[", "{")
    end = line_end
    while end < len(text):
        following = text.find("\n", end + 1)
        following = len(text) if following < 0 else following
        line = text[end + 1 : following]
        depth = len(line) - len(line.lstrip(" \t"))
        if line.strip() and depth <= indent and not (opened and depth == indent and line.lstrip().startswith("- ")):
            break
        if not holds_lines and _KEY.match(line):
            break
        end = following
    return Span(start, end, "") if text[start:end].strip() else None


def _is_prose(text: str, start: int) -> bool:
    """True when what stands there begins as a sentence does."""
    first = _FIRST_WORD.match(text, start)
    return first is not None and first[1].lower() in _PROSE


def _is_sentence(text: str, start: int, name: str) -> bool:
    """True also for several words behind a name such as `Passwort`, as people write it and no configuration does."""
    several = _LABEL.fullmatch(name) is not None and _SEVERAL.match(text, start) is not None
    return several or _is_prose(text, start)


def _in_sentence(text: str, start: int) -> Span | None:
    """From the first to the last word of a line that looks like a password: all else is what is said of it."""
    opening = _OPENING.match(text, start)
    line = _SENTENCE.match(text, opening.end() if opening else start, start + _JUDGED)
    found = [word for word in _SAID.finditer(text, *line.span()) if is_said(word[0])] if line else []
    return Span(found[0].start(), found[-1].end(), "") if found else None


def _is_open(text: str, line: int, end: int) -> bool:
    """True when a mapping is open there that began in the same line."""
    begin = max(line, end - _INDENT)
    return text.count("{", begin, end) > text.count("}", begin, end)
