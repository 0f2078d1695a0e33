"""The text of a page as people see it: lines of cells, and what stands beside and below a cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_CELL_GAP = 0.8
"""Words further apart than this share of their height stand in different cells."""
_LINE_DRIFT = 0.4
"""Words whose middles differ by less than this share of their height stand on one line."""
_BELOW_LINES = 2
"""How many lines further down the value under a heading may stand."""
_BELOW_GAP = 3.0
"""How many heights further down it may stand."""


@dataclass(frozen=True)
class Cell:
    """Words that stand together, with their place on the page in points from its top left."""

    text: str
    x0: float
    x1: float
    top: float
    bottom: float
    page: int
    line: int
    """Position of its line in the document."""
    column: int
    """Position in its line."""

    @property
    def height(self) -> float:
        """Of the text, in points."""
        return self.bottom - self.top

    def overlap(self, other: Cell) -> float:
        """How much of the narrower cell's width the two share, from 0 to 1."""
        shared = min(self.x1, other.x1) - max(self.x0, other.x0)
        return max(0.0, shared) / max(min(self.x1 - self.x0, other.x1 - other.x0), 1.0)


class Page:
    """The lines of a document of one or more pages, in reading order."""

    def __init__(self, pages: list[list[dict[str, Any]]]) -> None:
        self.lines: list[list[Cell]] = []
        for number, words in enumerate(pages):
            for line in _lines(words):
                self.lines.append(_cells(line, number, len(self.lines)))

    @property
    def cells(self) -> Iterator[Cell]:
        """Every cell, in reading order."""
        for line in self.lines:
            yield from line

    @property
    def text(self) -> str:
        """Everything, a line of text for a line of the page."""
        return "\n".join("  ".join(cell.text for cell in line) for line in self.lines)

    def right_of(self, cell: Cell) -> list[Cell]:
        """The cells that follow on the same line."""
        return self.lines[cell.line][cell.column + 1 :]

    def below(self, cell: Cell) -> Cell | None:
        """The nearest cell under this one."""
        for line in self.lines[cell.line + 1 : cell.line + 1 + _BELOW_LINES]:
            if not line or line[0].page != cell.page or line[0].top - cell.bottom > _BELOW_GAP * cell.height:
                return None
            under = max(line, key=cell.overlap)
            if cell.overlap(under) > 0:
                return under
        return None

    def column_below(self, cell: Cell, limit: int) -> list[Cell]:
        """The cells under this one down to the first gap, nearest first."""
        column: list[Cell] = []
        current: Cell | None = cell
        while current is not None and len(column) < limit:
            current = self.below(current)
            if current is not None:
                column.append(current)
        return column


def _lines(words: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Words grouped by their height on the page, each group from left to right."""
    lines: list[list[dict[str, Any]]] = []
    for word in sorted(words, key=lambda word: (word["top"] + word["bottom"], word["x0"])):
        middle = (word["top"] + word["bottom"]) / 2
        if lines:
            first = lines[-1][0]
            height = min(first["bottom"] - first["top"], word["bottom"] - word["top"])
            if abs((first["top"] + first["bottom"]) / 2 - middle) <= _LINE_DRIFT * height:
                lines[-1].append(word)
                continue
        lines.append([word])
    return [sorted(line, key=lambda word: word["x0"]) for line in lines]


def _cells(words: list[dict[str, Any]], page: int, line: int) -> list[Cell]:
    groups: list[list[dict[str, Any]]] = []
    for word in words:
        if groups:
            last = groups[-1][-1]
            if word["x0"] - last["x1"] <= _CELL_GAP * (last["bottom"] - last["top"]):
                groups[-1].append(word)
                continue
        groups.append([word])
    return [
        Cell(
            text=" ".join(word["text"] for word in group),
            x0=group[0]["x0"],
            x1=max(word["x1"] for word in group),
            top=min(word["top"] for word in group),
            bottom=max(word["bottom"] for word in group),
            page=page,
            line=line,
            column=column,
        )
        for column, group in enumerate(groups)
    ]
