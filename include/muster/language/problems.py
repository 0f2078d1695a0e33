"""What is wrong with a file, and where: the error a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from muster.errors import MusterError

NOT_VALID = "NOT VALID: "
"""Begins the description of the Dag that stands in for an automation that is not valid; what is wrong follows."""


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake at one spot of a file."""

    file: str
    line: int
    """Counted from 1."""
    column: int
    """Counted from 1."""
    message: str
    suggestion: str | None = None
    """What to write instead, as one sentence."""
    snippet: str = ""
    """The line as it stands in the file."""
    width: int = 1
    """How many characters the mistake spans."""

    @property
    def where(self) -> str:
        """`file:line:column`, as editors and terminals understand it."""
        return f"{self.file}:{self.line}:{self.column}"

    def __str__(self) -> str:
        """The place and the message, the line with a caret under the spot, the suggestion."""
        text = f"{self.where}: {self.message}"
        if self.snippet:
            text += f"\n{self._excerpt()}"
        return f"{text}\n{self.suggestion}" if self.suggestion else text

    def _excerpt(self) -> str:
        # A long line is cut around the spot, so that the caret stays on the screen.
        start = max(0, self.column - 80) if self.column > 100 else 0
        # A control character must not move the caret, or the terminal.
        shown = "".join(c if c.isprintable() else " " for c in self.snippet[start : start + 120])
        gutter = f"{self.line:>5}"
        width = max(1, min(self.width, len(shown) - (self.column - 1 - start)))
        return f"{gutter} | {shown}\n{' ' * len(gutter)} | {' ' * (self.column - 1 - start)}{'^' * width}"


class LanguageError(MusterError):
    """A file says something the language does not allow; nothing of it runs until it is mended."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column)))
        super().__init__("\n\n".join(str(problem) for problem in self.problems))


def did_you_mean(word: object, known: Iterable[str]) -> str | None:
    """A question naming the nearest known word, or None when nothing is near."""
    near = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=0.6)
    return f"Did you mean `{near[0]}`?" if near else None


def kind_of(value: object) -> str:
    """What a value is, for a sentence."""
    if value is None:
        return "null"
    if isinstance(value, date):
        return "a date"
    if isinstance(value, Mapping):
        return "a mapping"
    names = {bool: "true or false", str: "a text", int: "a number", float: "a number", Decimal: "a number"}
    return names.get(type(value), "a list" if isinstance(value, list | tuple) else "a value")


def one_of(known: Iterable[str]) -> str:
    """Words in a row for a sentence: `a`, `b` or `c`."""
    return _listed(known, " or ")


def all_of(known: Iterable[str]) -> str:
    """The same with `and`."""
    return _listed(known, " and ")


def _listed(known: Iterable[str], last: str) -> str:
    words = [f"`{word}`" for word in known]
    return last.join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
