"""One YAML file as plain data, with the place of everything in it.

The syntax is YAML 1.2's core: `no`, `on` and `2026-01-31` are text, numbers are numbers. What a person
cannot mean on purpose (a key twice, tags, several documents, aliases that multiply) is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path as File
from typing import Any

import yaml
from yaml.cyaml import CParser
from yaml.error import Mark
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from muster.language.problems import LanguageError, Problem

Path = tuple[str | int, ...]
"""Keys and positions that lead to a value, for example `("steps", 0, "retry")`."""

MAX_BYTES = 1_000_000
"""A larger file is refused before it is parsed."""
MAX_VALUES = 200_000
"""Most values in a file, counted after its aliases are written out."""
MAX_DEPTH = 60
"""Deepest nesting."""

_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
# A leading zero makes `0012` text: an account number must not become twelve.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_HEX = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NUMERIC_START = frozenset("0123456789+-.")


@dataclass(slots=True, eq=False)
class Node:
    """A value in the file: what it is and where it stands."""

    data: Any
    start: Mark
    end: Mark
    block: bool = False
    """True for a text written with `|` or `>`, which begins in the next line."""
    pairs: dict[str, tuple[Node, Node]] | None = None
    """Key and value nodes of a mapping."""
    items: list[Node] | None = None
    """Nodes of a list."""
    size: int = 1
    """How many values it holds, itself included, aliases written out."""


@dataclass(frozen=True, eq=False)
class Source:
    """A parsed file."""

    file: str
    """The path as problems show it."""
    text: str
    data: Any
    """Mappings, lists, text, numbers, booleans and null."""
    root: Node | None

    def find(self, path: Path) -> Node | None:
        """The node at exactly this path, or None."""
        node = self.root
        for part in path:
            node = _child(node, part)
            if node is None:
                return None
        return node

    def problem(
        self, message: str, path: Path = (), *, key: bool = False, suggestion: str | None = None, offset: int = 0
    ) -> Problem:
        """A problem at the value `path` leads to, or at the nearest thing above it that exists.

        `key` points at the key instead of its value; `offset` counts lines down into a text of several lines.
        """
        while path and self.find(path) is None:
            path, key = path[:-1], False
        line, column, width = self._place(path, key, offset)
        return self.problem_at(message, line, column, width, suggestion=suggestion)

    def _place(self, path: Path, key: bool, offset: int) -> tuple[int, int, int]:
        node = self.find(path)
        if node is None:
            return 0, 0, 1
        if key and path and (parent := self.find(path[:-1])) and parent.pairs and isinstance(path[-1], str):
            node = parent.pairs[path[-1]][0]
        if node.block or offset:
            line = node.start.line + offset + (1 if node.block else 0)
            return line, _indent(self.text, line), 1
        return _span(node.start, node.end)

    def problem_at(
        self, message: str, line: int, column: int, width: int = 1, *, suggestion: str | None = None
    ) -> Problem:
        """A problem at a line and column, both counted from 0."""
        snippet = _line(self.text, line)
        return Problem(self.file, line + 1, column + 1, message, suggestion, snippet, width)


def read_source(path: File, *, name: str | None = None) -> Source:
    """The file, parsed; `name` is how problems call it.

    Raises:
        LanguageError: it cannot be read, is too large, is not UTF-8 or is not the YAML we take.
    """
    shown = name or str(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LanguageError([Problem(shown, 1, 1, f"the file cannot be read: {reason}")]) from error
    return parse_source(raw, shown)


def parse_source(raw: bytes, file: str = "<text>") -> Source:
    """YAML text, parsed. Raises LanguageError as `read_source` does."""
    if len(raw) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1_000_000} MB, and was not read"
        raise LanguageError([Problem(file, 1, 1, message, "Move data out of it; an automation is a few kilobytes.")])
    source = Source(file, _decode(raw, file), None, None)
    try:
        root = _Composer(source).compose()
    except yaml.YAMLError as error:
        raise LanguageError([_syntax_problem(source, error)]) from None
    return Source(file, source.text, root.data, root)


def _line(text: str, number: int) -> str:
    # Only YAML's line breaks: a form feed inside a text does not begin a line.
    lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)
    return lines[number] if number < len(lines) else ""


def _indent(text: str, number: int) -> int:
    line = _line(text, number)
    return len(line) - len(line.lstrip())


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n"), error.start - (before.rfind(b"\n") + 1)
        message = f"the file is not UTF-8: byte 0x{raw[error.start]:02x} cannot stand here"
        raise LanguageError(
            [Problem(file, line + 1, column + 1, message, "Save it with the encoding UTF-8.")]
        ) from None


def _syntax_problem(source: Source, error: yaml.YAMLError) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        position = getattr(error, "position", 0)
        before = source.text[: position if isinstance(position, int) else 0]
        line, column = before.count("\n"), len(before) - (before.rfind("\n") + 1)
        return source.problem_at("a control character stands here; YAML takes none", line, column)
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    message, suggestion = str(error.problem or error.context), None
    if _line(source.text, line)[column : column + 1] == "\t":
        message, suggestion = "a tab is used for indentation", "Indent with spaces."
    elif error.context and error.problem:
        message = f"{error.context}: {error.problem}"
    return source.problem_at(message, line, column, suggestion=suggestion)


class _Composer:
    """Builds nodes from libyaml's events.

    libyaml's own composer recurses in C and takes the process down on deep nesting, so it is not used.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.next: Callable[[], Event] = CParser(source.text).get_event
        self.anchors: dict[str, Node] = {}

    def compose(self) -> Node:
        """The one document of the stream."""
        self.next()
        if isinstance(self.next(), StreamEndEvent):
            raise LanguageError([self.source.problem_at("the file is empty", 0, 0)])
        root = self._node(self.next(), 0)
        self.next()
        after = self.next()
        if isinstance(after, DocumentStartEvent):
            raise self._refuse(
                after.start_mark,
                after.end_mark,
                "a second document begins here",
                "Write one automation in one file, without `---`.",
            )
        return root

    def _node(self, event: Event, depth: int) -> Node:
        if isinstance(event, AliasEvent):
            return self._alias(event)
        if event.tag is not None and event.tag != "!":
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self._refuse(event.start_mark, event.end_mark, f"the tag `{shown}` is not taken", "Remove it.")
        if isinstance(event, ScalarEvent):
            data = self._plain(event) if event.implicit[0] and event.tag is None else event.value
            node = Node(data, event.start_mark, event.end_mark, event.style in ("|", ">"))
        elif depth > MAX_DEPTH:
            raise self._refuse(event.start_mark, event.end_mark, f"the nesting is deeper than {MAX_DEPTH} levels")
        elif isinstance(event, MappingStartEvent):
            node = self._mapping(event, depth)
        else:
            node = self._list(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _mapping(self, event: MappingStartEvent, depth: int) -> Node:
        node = Node({}, event.start_mark, event.end_mark, pairs={})
        pairs: dict[str, tuple[Node, Node]] = {}
        data: dict[str, Any] = {}
        while not isinstance(event := self.next(), MappingEndEvent):
            key = self._key(event, pairs)
            value = self._node(self.next(), depth + 1)
            pairs[key.data] = (key, value)
            data[key.data] = value.data
            self._grow(node, value)
        node.data, node.pairs, node.end = data, pairs, event.end_mark
        return node

    def _key(self, event: Event, pairs: dict[str, tuple[Node, Node]]) -> Node:
        if not isinstance(event, ScalarEvent):
            raise self._refuse(event.start_mark, event.end_mark, "a key must be text")
        key = self._node(event, 0)
        if not isinstance(key.data, str):
            raise self._refuse(key.start, key.end, "a key must be text", f'Write "{event.value}" in quotes.')
        if key.data in pairs:
            line = pairs[key.data][0].start.line + 1
            message = f"the key `{key.data}` is written twice; the first is in line {line}"
            raise self._refuse(key.start, key.end, message, "Remove one of them.")
        if key.data == "<<" and event.implicit[0]:
            remedy = "Use `extends` or a folder's `_defaults.yaml`."
            raise self._refuse(key.start, key.end, "merge keys (`<<`) are not taken", remedy)
        return key

    def _list(self, event: SequenceStartEvent, depth: int) -> Node:
        node = Node([], event.start_mark, event.end_mark, items=[])
        items: list[Node] = []
        while not isinstance(event := self.next(), SequenceEndEvent):
            items.append(item := self._node(event, depth + 1))
            self._grow(node, item)
        node.data, node.items, node.end = [item.data for item in items], items, event.end_mark
        return node

    def _grow(self, node: Node, child: Node) -> None:
        node.size += child.size
        if node.size > MAX_VALUES:
            message = f"the file holds more than {MAX_VALUES:,} values, aliases written out"
            raise self._refuse(child.start, child.end, message)

    def _alias(self, event: AliasEvent) -> Node:
        try:
            target = self.anchors[event.anchor]
        except KeyError:
            message = f"there is no anchor `&{event.anchor}` before this alias, or the alias stands inside it"
            raise self._refuse(event.start_mark, event.end_mark, message) from None
        return replace(target, start=event.start_mark, end=event.end_mark)

    def _plain(self, event: ScalarEvent) -> Any:
        value: str = event.value
        if value in _WORDS:
            return _WORDS[value]
        if value[0] not in _NUMERIC_START:
            return value
        try:
            if _INT.fullmatch(value):
                return int(value)
            if _HEX.fullmatch(value):
                return int(value, 0)
        except ValueError:
            raise self._not_a_number(event, "the number is too long") from None
        number = float(value) if _FLOAT.fullmatch(value) else None
        if _NOT_JSON.fullmatch(value) or (number is not None and not math.isfinite(number)):
            raise self._not_a_number(event, f"`{value[:40]}` is not a number that JSON can hold")
        return value if number is None else number

    def _not_a_number(self, event: ScalarEvent, message: str) -> LanguageError:
        return self._refuse(event.start_mark, event.end_mark, message, "Put it in quotes to make it text.")

    def _refuse(self, start: Mark, end: Mark, message: str, suggestion: str | None = None) -> LanguageError:
        return LanguageError([self.source.problem_at(message, *_span(start, end), suggestion=suggestion)])


def _child(node: Node | None, part: str | int) -> Node | None:
    if node is None:
        return None
    if node.pairs is not None and isinstance(part, str):
        return node.pairs[part][1] if part in node.pairs else None
    if node.items is not None and isinstance(part, int) and 0 <= part < len(node.items):
        return node.items[part]
    return None


def _span(start: Mark, end: Mark) -> tuple[int, int, int]:
    return start.line, start.column, max(1, end.column - start.column) if end.line == start.line else 1
