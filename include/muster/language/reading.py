"""YAML events to plain data, and, when someone asks, to the places of it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

Path = tuple[str | int, ...]
"""Keys and positions that lead to a value, for example `("steps", 0, "retry")`."""

MAX_VALUES = 200_000
"""Most values in a file, counted after its aliases are written out."""
MAX_DEPTH = 60
"""Deepest nesting."""

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
# A leading zero makes `0012` text: an account number must not become twelve.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_HEX = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NUMERIC_START = frozenset("0123456789+-.")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""All control characters but tabs and line breaks, and halves of characters."""
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", re.DOTALL)
_CONTROL_ESCAPES = frozenset("0abvfeN")
"""The letters that stand for control characters behind a backslash in double quotes."""


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in the text; line and column count from 0."""

    line: int
    column: int
    width: int
    block: bool = False
    """True for a text written with `|` or `>`, which begins in the next line."""


class Mistake(Exception):
    """The text is YAML, and uses a part of YAML that is refused."""

    def __init__(self, message: str, place: Place, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message, self.place, self.suggestion = message, place, suggestion


def read_data(text: str, *, published: bool = False) -> object:
    """The one document in a text. Raises Mistake, or a YAMLError of the parser.

    Control characters are taken only in what was `published`, because that may have been before they were refused.
    """
    # The parser refuses a raw control character, so only a text with an escape can hold one.
    return _Reader(text, strict="\\" in text and not published).document()


def read_places(text: str) -> dict[Path, tuple[Place, Place]]:
    """For each path the places of its key and its value, up to the first mistake if there is one."""
    places: dict[Path, tuple[Place, Place]] = {(): (Place(0, 0, 1), Place(0, 0, 1))}
    reader = _Reader(text, places)
    try:
        reader.document()
    except Exception:
        # The mistake itself was reported when the data was read.
        return places
    return places


class _Reader:
    """Builds data from libyaml's events.

    libyaml's own composer recurses in C and takes the process down on deep nesting, so it is not used.
    """

    def __init__(
        self, text: str, places: dict[Path, tuple[Place, Place]] | None = None, *, strict: bool = False
    ) -> None:
        self.text, self.strict = text, strict
        self.next: Callable[[], object] = CParser(text).get_event
        self.places = places
        self.anchors: dict[str, tuple[object, int]] = {}
        self.count = 0

    def document(self) -> object:
        """The one document of the stream."""
        self.next()
        if type(self.next()) is StreamEndEvent:
            raise Mistake("the file is empty", Place(0, 0, 1))
        data = self._value(self.next(), 0, ())
        self.next()
        after = self.next()
        if type(after) is DocumentStartEvent:
            raise Mistake(
                "a second document begins here",
                _place(after),
                "Write one automation in one file, without `---`.",
            )
        return data

    def _value(self, event: Any, depth: int, path: Path) -> object:
        self.count += 1
        kind = type(event)
        if kind is AliasEvent:
            return self._alias(event, path)
        if event.tag is not None and event.tag != "!":
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise Mistake(f"the tag `{shown}` is not taken", _place(event), "Write the value itself, without a tag.")
        before = self.count
        if kind is ScalarEvent:
            data = event.value
            if self.strict:
                self._refuse_control(event)
            # Only a text without quotes can be anything but text, and only these beginnings can.
            if event.implicit[0] and event.tag is None and (data[:1] in _NUMERIC_START or data in _WORDS):
                data = _plain(event)
            end = event
        elif depth >= MAX_DEPTH:
            raise Mistake(f"the nesting is deeper than {MAX_DEPTH} levels", _place(event))
        else:
            data, end = (self._mapping if kind is MappingStartEvent else self._list)(depth + 1, path)
        if self.places is not None and path:
            self.places[path] = (self.places.get(path, (_place(event),))[0], _place(event, end))
        if event.anchor is not None:
            # Known only from here on, so that no value can hold an alias of itself.
            self.anchors[event.anchor] = data, self.count - before + 1
        return data

    def _mapping(self, depth: int, path: Path) -> tuple[dict[str, object], object]:
        data: dict[str, object] = {}
        while type(event := self.next()) is not MappingEndEvent:
            key = _key(event)
            if self.strict:
                self._refuse_control(event)
            if key in data:
                raise Mistake(f"the key `{key}` is written twice", _place(event), "Remove one of them.")
            inner = path
            if self.places is not None:
                inner = (*path, key)
                self.places[inner] = (_place(event), _place(event))
            data[key] = self._value(self.next(), depth, inner)
        return data, event

    def _list(self, depth: int, path: Path) -> tuple[list[object], object]:
        data: list[object] = []
        while type(event := self.next()) is not SequenceEndEvent:
            inner = path if self.places is None else (*path, len(data))
            data.append(self._value(event, depth, inner))
        return data, event

    def _refuse_control(self, event: Any) -> None:
        """Refuse what no database, or no reader, takes for text, such as the NUL in `"D:\\01_inbox"`."""
        if _CONTROL.search(event.value) is None:
            return
        start = event.start_mark.index
        for escape in _ESCAPE.finditer(self.text, start, event.end_mark.index):
            name = escape[0]
            number = escape[escape.lastindex] if escape.lastindex else None
            if name[1] in _CONTROL_ESCAPES or (number and _CONTROL.match(chr(int(number, 16)))):
                before = self.text[start : escape.start()]
                breaks = before.count("\n")
                column = len(before) - before.rfind("\n") - 1 if breaks else event.start_mark.column + len(before)
                place = Place(event.start_mark.line + breaks, column, len(name))
                remedy = f"Write `\\{name}` for these letters, or put the text in single quotes."
                raise Mistake(f"`{name}` in double quotes is a control character", place, remedy)
        raise Mistake("a control character stands in this text", _place(event), "Leave it out.")

    def _alias(self, event: Any, path: Path) -> object:
        if event.anchor not in self.anchors:
            message = f"there is no anchor `&{event.anchor}` before this alias, or the alias stands inside it"
            raise Mistake(message, _place(event))
        data, size = self.anchors[event.anchor]
        # An alias counts as much as all that it stands for: a few aliases of aliases make billions of values.
        self.count += size
        if self.count > MAX_VALUES:
            message = f"the file holds more than {MAX_VALUES:,} values, aliases written out"
            raise Mistake(message, _place(event))
        if self.places is not None:
            self.places[path] = (self.places.get(path, (_place(event),))[0], _place(event))
        return data


def _key(event: object) -> str:
    if type(event) is not ScalarEvent or event.tag is not None:
        raise Mistake("a key must be text", _place(event))
    key: str = event.value
    if event.implicit[0]:
        if key in _WORDS or (key[0] in _NUMERIC_START and not isinstance(_plain(event), str)):
            raise Mistake("a key must be text", _place(event), f'Write "{key}" in quotes.')
        if key == "<<":
            remedy = "What steps have in common stands under `defaults`, and what files have in `_defaults.yaml`."
            raise Mistake("merge keys (`<<`) are not taken", _place(event), remedy)
    return key


def _plain(event: Any) -> object:
    """The value of a text without quotes that begins like a number, or is a word such as `true`."""
    value: str = event.value
    if value in _WORDS:
        return _WORDS[value]
    remedy = "Put it in quotes to make it text."
    try:
        if _INT.fullmatch(value):
            return int(value)
        if _HEX.fullmatch(value):
            return int(value, 0)
    except ValueError:
        raise Mistake("the number is too long", _place(event), remedy) from None
    number = float(value) if _FLOAT.fullmatch(value) else None
    if _NOT_JSON.fullmatch(value) or (number is not None and not math.isfinite(number)):
        raise Mistake(f"`{value[:40]}` is not a number that JSON can hold", _place(event), remedy)
    return value if number is None else number


def _place(event: Any, end_event: Any = None) -> Place:
    start, end = event.start_mark, (end_event or event).end_mark
    block = type(event) is ScalarEvent and event.style in ("|", ">")
    width = max(1, end.column - start.column) if end.line == start.line else 1
    return Place(start.line, start.column, width, block)


def merged(below: object, above: object) -> Any:
    """`above` laid over `below`."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(below.get(key), value)
    return result
