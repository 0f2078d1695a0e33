"""Where in a text a secret stands whose name is not right before it: in an XML element, in a pair of name and value."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

from muster.patterns import lazy_pattern
from muster.secret_names import (
    NO_WORD,
    PLAIN_REST,
    QUOTE,
    Span,
    end_of,
    is_no_word,
    left_alone,
    quoted_value,
    value_of,
    whole,
)
from muster.secret_words import BEHIND, IN_DOUBT, LONGEST, NAME, NAMING, VALUES, is_secret, kind_of, tells

_OPEN, _CLOSE = "(?:<|&lt;)", "(?:>|&gt;)"
_NAMED = rf"[\w.-]{{0,40}}{NAME}[\w.-]{{0,{BEHIND}}}"
_ELEMENT = lazy_pattern(
    rf"{_OPEN}(?:[\w.-]{{1,40}}:)?(?P<name>{_NAMED})(?:\s[^<>]{{0,400}}?)?(?<!/){_CLOSE}", re.IGNORECASE
)
_CLOSING = lazy_pattern(rf"{_OPEN}\\?/(?:[\w.-]{{1,40}}:)?(?P<name>[\w.-]{{1,120}})\s{{0,9}}{_CLOSE}")
_CUT_OFF = lazy_pattern(r"[^\s<]{1,200}\Z")
_JUDGED = 512
"""Characters of a value that tell whether it is left alone."""

_XML_PAIR = lazy_pattern(
    rf"{_OPEN}[\w.:-]{{0,40}}(?:{'|'.join(NAMING)}){_CLOSE}\s{{0,20}}(?P<held>{_NAMED})\s{{0,20}}{_OPEN}/[\w.:-]{{1,60}}{_CLOSE}"
    rf"\s{{0,200}}{_OPEN}[\w.:-]{{1,60}}{_CLOSE}(?P<plain>[^<&]{{1,4000}})",
    re.IGNORECASE,
)
_MARK = r"\\*[\"']"
_KEY_END = rf"(?:{_MARK})?\s{{0,20}}[:=]\s{{0,20}}"
_NAMES_IT = rf"(?<![\w.-])[\w.-]{{0,40}}(?:{'|'.join(NAMING)}){_KEY_END}"
_HELD = rf"[bru]?(?:{_MARK})?(?P<held>{_NAMED})(?![\w.-])(?!{_KEY_END})"
_VALUE = (
    rf"(?<![\w.-])(?P<name>[\w.-]{{0,40}}(?:{'|'.join(VALUES)}))(?P<close>{_MARK})?\s{{0,20}}(?P<sep>[:=])[ \t]{{0,20}}"
)
_BETWEEN = r"[^{}\[\]]{0,120}?"
_NAME_FIRST = lazy_pattern(rf"{_NAMES_IT}{_HELD}(?P<between>{_BETWEEN}){_VALUE}", re.IGNORECASE)
_QUOTED = r"(?:(?P=mark){2}|(?!(?<!\\)(?P=mark)).){1,2000}"
_BREAK = r"(?:\n|\\+[nr])"
_PLAIN = r"[^\s{}\[\],\"'][^{}\[\],\n]{0,300}?"
_LINE = r"[^\s{}\[\]|>\"'](?:(?!\\+[nr])[^\n]){0,500}?"
_VALUE_FIRST = lazy_pattern(
    rf"{_VALUE}(?:[bru]?(?P<mark>{_MARK})(?P<quoted>{_QUOTED})(?P=mark)(?:[\s,]|\\+[nr]){{1,20}}"
    rf"|(?P<plain>{_PLAIN})(?:[\s,]|\\+[nr]){{1,20}}|(?P<line>{_LINE}){_BREAK}[ \t]{{0,60}})"
    rf"(?:{_MARK})?{_NAMES_IT}{_HELD}",
    re.IGNORECASE | re.DOTALL,
)
_WHOLE = ("quoted", "plain", "line")
_NAMED_BY_A_KEY = lazy_pattern(rf"{_NAMES_IT}{_HELD}", re.IGNORECASE)
_SPACE = rf"(?:\s|{_BREAK}){{0,60}}"
_FLOW_PAIR = lazy_pattern(
    rf"(?:[\[(]|[\])]{_SPACE},){_SPACE}[\[(]{_SPACE}[bru]?"
    rf"(?:(?P<mark>{_MARK})(?P<quoted>[^\"'\\\x00-\x1f]{{1,{LONGEST}}})(?P=mark)|(?P<plain>{_NAMED}{PLAIN_REST})){_SPACE},{_SPACE}",
    re.IGNORECASE,
)
_FLOW_END = lazy_pattern(rf"{_SPACE},?{_SPACE}(?:[\])]|\Z)")
_FLOW_OPEN = lazy_pattern(r"[\[(]")
_FLOW_MARKS = lazy_pattern(r"[\[\](),\"'\\]")
_FLOW_PLAIN = lazy_pattern(r"[^\s,\[\](){}\"'\\][^,\[\](){}\n]{0,500}")
_BLOCK_ITEM = rf"(?:(?!{_BREAK}).){{1,500}}+"
_BLOCK_PAIR = lazy_pattern(
    rf"- - (?P<held>(?:(?!{_BREAK})[^\x00-\x1f]){{1,{LONGEST}}}){_BREAK}(?P<indent> {{2,40}})- "
    rf"(?P<line>{_BLOCK_ITEM}(?:{_BREAK}(?P=indent) {{2,40}}{_BLOCK_ITEM}){{0,40}}+)(?!{_BREAK}(?P=indent)- )",
    re.IGNORECASE,
)
_OPTION_NAME = lazy_pattern(rf"--(?P<name>{_NAMED})", re.IGNORECASE)
_OPTION = lazy_pattern(
    # In a command, or in the list of its words.
    rf"(?<!-)--(?P<name>{_NAMED})(?:[ \t]{{1,20}}|{_MARK}\s{{0,20}},\s{{0,20}}[bru]?(?={_MARK})|\n[ \t]{{0,40}}- )"
    rf"(?:(?P<mark>{_MARK})(?P<quoted>[^\"'\\\n]{{1,200}})(?P=mark)|(?P<plain>[^\s\"'`\\,;|&()]{{1,500}}))",
    re.IGNORECASE,
)
_ELSEWHERE = lazy_pattern(r"[-/~.<\[{(].*|\$[\w({].*|\w+://.*|.*\.[A-Za-z]{2,5}", re.DOTALL)
"""Another option, a file that holds it, what is to be filled in."""
_ANOTHER = lazy_pattern(_NAMES_IT, re.IGNORECASE)


def elements(text: str) -> Iterator[Span]:
    """What stands in the XML elements whose names are secret: `<password>...</password>`."""
    if "<" not in text and "&lt;" not in text:
        return
    closings: dict[str, list[int]] | None = None
    position = 0
    while found := _ELEMENT.search(text, position):
        position = found.end()
        if not (kind := kind_of(found["name"])):
            continue
        # All closings at once: a text may open thousands of elements, and end none of them.
        closings = _closings(text) if closings is None else closings
        end = _end(text, position, closings.get(found["name"].lower(), []))
        judged = text[position : min(end, position + _JUDGED)]
        if left_alone(kind, judged) or not tells(kind, judged):
            continue
        yield Span(position, end, "")
        position = end


def _closings(text: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for closing in _CLOSING.finditer(text):
        found.setdefault(closing["name"].lower(), []).append(closing.start())
    return found


def _end(text: str, start: int, closings: list[int]) -> int:
    """Where the element ends. One without an end is a blank to be filled in, as in `?token=<token>`, unless the text
    was cut off in it.
    """
    if (place := bisect_left(closings, start)) < len(closings):
        return closings[place]
    cut = _CUT_OFF.match(text, start)
    return cut.end() if cut else start


def pairs(text: str) -> Iterator[Span]:
    """The values of pairs that name what they hold, such as `{"name": "password", "value": ...}`."""
    spans = list(_whole(text, _XML_PAIR)) if "<" in text or "&lt;" in text else []
    # Most texts have names beside values, and none of a secret among them.
    if any(kind_of(found["held"]) for found in _NAMED_BY_A_KEY.finditer(text)):
        spans += [*_name_first(text), *_whole(text, _VALUE_FIRST)]
    spans += _listed(text)
    position = 0
    for span in sorted(spans):
        if span.start >= position:
            yield span
            position = span.end


def options(text: str) -> Iterator[Span]:
    """What stands behind an option whose name is secret: `--password hunter2-x`, `["--password", "hunter2-x"]`."""
    if "--" not in text:
        return
    for found in _OPTION.finditer(text):
        which = "quoted" if found["mark"] else "plain"
        if _is_given(found["name"], found[which]):
            yield Span(*found.span(which), "")


def is_given(option: object, value: object) -> bool:
    """True when of two words of a command the first is an option that calls the other secret."""
    if not isinstance(option, str) or not isinstance(value, str) or not option.startswith("--"):
        return False
    name = _OPTION_NAME.fullmatch(option)
    return name is not None and _is_given(name["name"], value)


def _is_given(name: str, value: str) -> bool:
    """True for what is no word: it may also be a sentence about the option."""
    kind = kind_of(name)
    if not kind or left_alone(kind, value) or _ELSEWHERE.fullmatch(value):
        return False
    if name.lower() == "secret":
        kind = "random"  # Mostly it says which of a vault's: `--secret id=npmrc`, `--secret billing-2`.
    if kind in IN_DOUBT:
        return tells(kind, value)
    return NO_WORD.search(value) is not None and (kind == "secret" or is_no_word(value))


def _listed(text: str) -> Iterator[Span]:
    """What stands beside a secret's name in a list of such pairs: `[["X-Api-Key", ...]]`, in YAML `- - X-Api-Key`."""
    looked = 0
    for found in _FLOW_PAIR.finditer(text) if "[" in text or "(" in text else ():
        if not (kind := kind_of(name := found["quoted"] or found["plain"], listed=True)):
            continue
        mark, judged = found["mark"] or "", None
        if opening := QUOTE.match(text, found.end()):
            span, close = quoted_value(text, opening, to_the_end=True), len(opening[1])
        elif _FLOW_OPEN.match(text, found.end()):
            if found.end() < looked:
                continue  # A text may open thousands of lists, and end none of them.
            span, close = Span(found.end(), end_of(text, found.end(), len(mark[:-1])), mark), 0
            looked = span.end
            judged = _FLOW_MARKS.sub(" ", text[span.start : span.end]).split()
        elif plain := _FLOW_PLAIN.match(text, found.end()):
            span, close = Span(*plain.span(), mark), 0  # In JSON a number stands without quotes.
        else:
            continue
        said = judged if judged is not None else [text[span.start : span.end]]
        is_pair = _FLOW_END.match(text, min(span.end + close, len(text))) is not None
        if is_pair and any(not left_alone(kind, each) and is_secret(name, each, listed=True) for each in said):
            yield span
    for found in _BLOCK_PAIR.finditer(text) if "- - " in text else ():
        kind = kind_of(found["held"], listed=True)
        if not left_alone(kind, found["line"]) and is_secret(found["held"], found["line"], listed=True):
            yield Span(*found.span("line"), "")


def _name_first(text: str) -> Iterator[Span]:
    position = seen = line = 0
    while found := _NAME_FIRST.search(text, position):
        # What follows may begin within what stands between.
        position = found.end("held")
        line = max(line, text.rfind("\n", seen, found.start("name")) + 1)
        seen = found.start("name")
        if not (kind := kind_of(whole(text, *found.span("held")))) or _ANOTHER.search(found["between"]):
            continue
        span = value_of(text, found, kind, line, found["held"])
        if span is not None and not left_alone(kind, text[span.start : span.end]):
            yield span
            position = max(span.end, position)


def _whole(text: str, pair: re.Pattern[str]) -> Iterator[Span]:
    position = 0
    while found := pair.search(text, position):
        which = next(group for group in _WHOLE if found.groupdict().get(group) is not None)
        position = found.start(which)
        kind, value = kind_of(whole(text, *found.span("held"))), found[which]
        if left_alone(kind, value) or not tells(kind, value):
            continue
        yield Span(*found.span(which), "")
        position = found.end()
