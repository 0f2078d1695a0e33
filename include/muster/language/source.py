"""One YAML file as plain data, with the place of everything in it.

The syntax is YAML 1.2's core: `no`, `on` and `2026-01-31` are text, numbers are numbers. What a person
cannot mean on purpose (a key twice, tags, several documents, aliases that multiply) is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path as File

import yaml

from muster.language.problems import LanguageError, Problem
from muster.language.reading import Mistake, Path, Place, read_data, read_places
from muster.language.syntax import expression_for_key, line_of, syntax_mistake
from muster.redaction import redact

MAX_BYTES = 1_000_000
"""A larger file is refused before it is parsed."""


@dataclass(frozen=True, eq=False)
class Source:
    """A parsed file."""

    file: str
    """The path as problems show it."""
    text: str
    data: object = None
    """Mappings, lists, text, numbers, booleans and null."""

    @cached_property
    def places(self) -> dict[Path, tuple[Place, Place]]:
        """Where each key and value stands; read again from the text, when the first problem asks."""
        return read_places(self.text)

    def holds(self, path: Path) -> bool:
        """True when there is a value at exactly this path."""
        return path in self.places

    def problem(
        self, message: str, path: Path = (), *, key: bool = False, suggestion: str | None = None, offset: int = 0
    ) -> Problem:
        """A problem at the value `path` leads to, or at the nearest thing above it that exists.

        `key` points at the key instead of its value; `offset` counts lines down into a text written with `|`.
        """
        while path and path not in self.places:
            path, key = path[:-1], False
        place = self.places[path][0 if key else 1]
        if place.block:
            line = place.line + 1 + offset
            shown = line_of(self.text, line)
            place = Place(line, len(shown) - len(shown.lstrip()), 1)
        return self.problem_at(message, place, suggestion)

    def problem_at(self, message: str, place: Place, suggestion: str | None = None) -> Problem:
        """A problem at a place."""
        # The line, and a message that quotes it, may hold a secret, and problems are shown and logged.
        snippet = redact(line_of(self.text, place.line))
        said, help = redact(message), suggestion and redact(suggestion)
        return Problem(self.file, place.line + 1, place.column + 1, said, help, snippet, place.width)


def read_source(path: File, *, name: str | None = None, published: bool = False) -> Source:
    """The file, parsed; `name` is how problems call it. One that was `published` may hold control characters.

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
    return parse_source(raw, shown, published=published)


def parse_source(raw: bytes, file: str = "<text>", *, published: bool = False) -> Source:
    """YAML text, parsed. Raises LanguageError as `read_source` does."""
    if len(raw) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 1_000_000} MB, and was not read"
        raise LanguageError([Problem(file, 1, 1, message, "Move data out of it; an automation is a few kilobytes.")])
    text = _decode(raw, file)
    try:
        return Source(file, text, read_data(text, published=published))
    except Mistake as mistake:
        reported = expression_for_key(text, mistake)
    except yaml.MarkedYAMLError as error:
        reported = syntax_mistake(text, error)
    except yaml.YAMLError as error:
        reported = _control_character(text, error)
    raise LanguageError([Source(file, text).problem_at(reported.message, reported.place, reported.suggestion)])


def _decode(raw: bytes, file: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line, column = before.count(b"\n"), error.start - (before.rfind(b"\n") + 1)
        message = f"the file is not UTF-8: byte 0x{raw[error.start]:02x} cannot stand here"
        problem = Problem(file, line + 1, column + 1, message, "Save it with the encoding UTF-8.")
    raise LanguageError([problem])


def _control_character(text: str, error: yaml.YAMLError) -> Mistake:
    position = getattr(error, "position", 0)
    before = text[: position if isinstance(position, int) else 0]
    place = Place(before.count("\n"), len(before) - (before.rfind("\n") + 1), 1)
    return Mistake("a control character stands here; YAML takes none", place)
