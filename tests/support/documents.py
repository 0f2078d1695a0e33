"""The fenced blocks of the documentation, and what their marks ask for.

`yaml automation` is loaded as one; `sh` is checked against the commands there are; `run` after the language
means that it is executed in a project without a running stack, `stack` that it needs one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]+)(?P<marks>[ a-z]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
SHELL = {"sh", "bash", "console"}


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    marks: frozenset[str]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """The command lines of a shell block, word by word; a backslash at the end of a line joins two."""
        lines = self.text
        if self.language == "console":
            lines = "\n".join(line[2:] for line in lines.splitlines() if line.startswith("$ "))
        return [command for part in _logical_lines(lines) if (command := _words(part))]


def pages() -> list[Path]:
    """Every page of documentation."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def prose(page: Path) -> str:
    """The text of a page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def slug(heading: str) -> str:
    """What a heading is called in a link, as GitHub does it."""
    shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", re.sub(r"&\w+;|`", "", shown).lower()).strip().replace(" ", "-")


def anchors(page: Path) -> list[str]:
    """The fragments that lead to the headings of a page, in order."""
    return [slug(heading) for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)]


def blocks(*languages: str, mark: str | None = None) -> Iterator[Block]:
    """The blocks in one of the languages, with the mark if one is asked for."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            marks = frozenset(found["marks"].split())
            if found["language"] in languages and (mark is None or mark in marks):
                line = text.count("\n", 0, found.start()) + 1
                yield Block(page, line, found["language"], marks, found["text"])


def _logical_lines(text: str) -> Iterator[str]:
    pending = ""
    for line in text.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        try:
            shlex.split(pending, comments=True)
        except ValueError:
            continue  # a quotation goes on in the next line
        yield pending
        pending = ""
    if pending:
        yield pending


def _words(command: str) -> list[str]:
    return shlex.split(command, comments=True)
