"""Where the words for an invoice's fields stand in a document, and what belongs to them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from muster.skills.finance.reading.plain.layout import Cell, Page
from muster.skills.finance.reading.plain.vocabulary import VOCABULARY

_IGNORED = frozenset(" .,-_'’`´:()*/&\t\u00a0\u00ad")


@dataclass(frozen=True)
class Hit:
    """A label found in a cell."""

    field: str
    cell: Cell
    start: int
    end: int
    """The label's place in the cell's text."""
    stop: int
    """Where the next label in the cell begins, or the text ends."""

    @property
    def after(self) -> str:
        """The text between this label and the next."""
        return self.cell.text[self.end : self.stop].lstrip(" .:#–-\t\u00a0)")

    @property
    def leads(self) -> bool:
        """True when nothing stands before the label in its cell."""
        return not self.cell.text[: self.start].strip(" #*•-")


def squeeze(text: str) -> tuple[str, list[int]]:
    """The text as labels are compared, and for each of its characters the place in the original."""
    letters: list[str] = []
    places: list[int] = []
    for place, original in enumerate(text):
        if original in _IGNORED:
            continue
        plain = "o" if original in "°º" else unicodedata.normalize("NFKD", original).casefold()
        for letter in plain.replace("ł", "l").replace("ø", "o"):
            if not unicodedata.combining(letter):
                letters.append(letter)
                places.append(place)
    return "".join(letters), places


@cache
def _fields() -> tuple[dict[str, str], int]:
    """The field of each label as labels are compared, and the longest label's length."""
    fields = {squeeze(label)[0]: field for field, labels in VOCABULARY.items() for label in labels}
    return fields, max(map(len, fields))


def hits_in(cell: Cell) -> list[Hit]:
    """The labels in a cell, from left to right; of two that begin alike, the longer."""
    squeezed, places = squeeze(cell.text)
    labels: list[tuple[str, int, int]] = []
    position = 0
    while position < len(squeezed):
        length = _label_at(cell.text, squeezed, places, position)
        if length:
            label = squeezed[position : position + length]
            labels.append((_fields()[0][label], places[position], places[position + length - 1] + 1))
        position += length or 1
    stops = [*(start for _, start, _ in labels[1:]), len(cell.text)][: len(labels)]
    return [Hit(field, cell, start, end, stop) for (field, start, end), stop in zip(labels, stops, strict=True)]


def _label_at(text: str, squeezed: str, places: list[int], position: int) -> int:
    """The length of the longest label that begins here, as a word of its own; 0 for none."""
    fields, longest = _fields()
    for length in range(min(longest, len(squeezed) - position), 1, -1):
        last = position + length - 1
        if squeezed[position : last + 1] in fields and _is_word(text, places[position], places[last] + 1):
            return length
    return 0


def _is_word(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return not before.isalnum() and not after.isalpha()


class Labels:
    """Every label in a document."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.by_cell: dict[tuple[int, int], list[Hit]] = {}
        for cell in page.cells:
            if hits := hits_in(cell):
                self.by_cell[cell.line, cell.column] = hits

    def of(self, *fields: str) -> list[Hit]:
        """The labels of the fields, in reading order."""
        return [hit for hits in self.by_cell.values() for hit in hits if hit.field in fields]

    def beside(self, hit: Hit) -> list[str]:
        """The texts that belong to a label on its line: the rest of its cell, then cells up to a label."""
        texts = [hit.after] if hit.after.strip() else []
        if hit.stop < len(hit.cell.text):
            return texts
        for cell in self.page.right_of(hit.cell):
            if hits := self.by_cell.get((cell.line, cell.column)):
                before = cell.text[: hits[0].start].strip()
                return [*texts, before] if before else texts
            texts.append(cell.text)
        return texts

    def below(self, hit: Hit) -> str | None:
        """The text under a label that is a heading: it fills its cell, and what is under it is no label."""
        under = self.page.below(hit.cell)
        if under is None or not hit.leads or hit.after.strip() or (under.line, under.column) in self.by_cell:
            return None
        return under.text

    def in_heading(self, hit: Hit) -> bool:
        """True when the label stands in a row of headings: three cells or more, labels most of them."""
        line = self.page.lines[hit.cell.line]
        labelled = sum((cell.line, cell.column) in self.by_cell for cell in line)
        return len(line) >= 3 and labelled >= 2 and not any(re.search(r"\d", cell.text) for cell in line)
