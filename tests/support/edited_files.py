"""Cases for merging: real files of installed packages, edited on two sides; the same seed gives the same cases."""

from __future__ import annotations

import importlib
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGES = ("jinja2", "httpx", "yaml", "typer", "rich", "pydantic", "alembic", "croniter", "jsonschema", "psutil")
"""Whose files are edited: their versions are locked, so the files are the same everywhere."""
ENDINGS = (".py", ".pyi", ".txt", ".md", ".json", ".mako", ".ini")
Lines = list[bytes]


@dataclass(frozen=True)
class EditedFile:
    """One case."""

    number: int
    scenario: str
    base: bytes
    ours: bytes
    theirs: bytes


@cache
def sources() -> tuple[Lines, ...]:
    """The lines of the files, each with its ending."""
    folders = [Path(str(importlib.import_module(name).__file__)).parent for name in PACKAGES]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in ENDINGS]
    contents = [re.findall(rb"[^\n]*\n|[^\n]+", path.read_bytes()) for path in files]
    return tuple(lines for lines in contents if 5 <= len(lines) <= 1500)


def _block(pick: random.Random, lines: Lines, near: int | None) -> tuple[int, int]:
    """Where an edit is: a few lines, at a place or anywhere."""
    if not lines:
        return 0, 0
    start = pick.randrange(len(lines)) if near is None else min(max(near + pick.randint(-4, 4), 0), len(lines) - 1)
    return start, min(start + pick.choice((1, 1, 1, 2, 3, 5, 9)), len(lines))


def _retype(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    changed = [
        re.sub(rb"\w+", lambda m: m[0] + pick.choice((b"_2", b"x", b"")), line, count=1) for line in lines[start:end]
    ]
    return lines[:start] + changed + lines[end:]


def _insert(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    other = pick.choice(sources())
    at = pick.randrange(len(other))
    return lines[:start] + other[at : at + pick.choice((1, 2, 4, 8))] + lines[start:]


def _repeat(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    return lines[:end] + lines[start:]


def _delete(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    return lines[:start] + lines[end:]


def _move(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    rest = lines[:start] + lines[end:]
    to = pick.randint(0, len(rest)) if pick.random() < 0.5 else min(max(start + pick.randint(-12, 12), 0), len(rest))
    return rest[:to] + lines[start:end] + rest[to:]


def _indent(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    end = min(start + pick.choice((1, 3, 8, 20)), len(lines))
    by = pick.choice((b"    ", b"\t", None))
    moved = [by + line if by else line.lstrip(b" ") for line in lines[start:end]]
    return lines[:start] + moved + lines[end:]


def _blank(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    return lines[:start] + [b"\n"] * pick.randint(1, 2) + lines[start:]


def _crlf(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    if pick.random() < 0.3:
        start, end = 0, len(lines)
    changed = [
        line[:-2] + b"\n" if line.endswith(b"\r\n") else line[:-1] + b"\r\n" if line.endswith(b"\n") else line
        for line in lines[start:end]
    ]
    return lines[:start] + changed + lines[end:]


def _final(pick: random.Random, lines: Lines, start: int, end: int) -> Lines:
    if not lines:
        return lines
    last = lines[-1]
    return [*lines[:-1], last.rstrip(b"\r\n") if last.endswith(b"\n") else last + b"\n"]


Edit = Callable[[random.Random, Lines, int, int], Lines]
EDITS: tuple[Edit, ...] = (_retype, _retype, _insert, _insert, _delete, _repeat, _move, _indent, _blank, _crlf, _final)


def _side(pick: random.Random, base: Lines, edits: tuple[Edit, ...], times: int, near: int | None = None) -> Lines:
    lines = base
    for _ in range(times):
        lines = pick.choice(edits)(pick, lines, *_block(pick, lines, near))
    return lines


Sides = tuple[Lines, Lines, Lines]


def _apart(pick: random.Random, base: Lines) -> Sides:
    return base, _side(pick, base, EDITS, pick.randint(1, 6)), _side(pick, base, EDITS, pick.randint(1, 6))


def _of(*edits: Edit) -> Callable[[random.Random, Lines], Sides]:
    def make(pick: random.Random, base: Lines) -> Sides:
        return (
            base,
            _side(pick, base, edits, pick.randint(1, 3)),
            _side(pick, base, (*EDITS, *edits), pick.randint(1, 3)),
        )

    return make


def _close(pick: random.Random, base: Lines) -> Sides:
    near = pick.randrange(len(base))
    return base, _side(pick, base, EDITS, pick.randint(1, 2), near), _side(pick, base, EDITS, pick.randint(1, 2), near)


def _adjacent(pick: random.Random, base: Lines) -> Sides:
    start, middle = sorted((pick.randrange(len(base)), pick.randrange(len(base))))
    middle = min(middle, start + 4)
    gap = pick.randint(0, 2)
    edits = (_retype, _delete, _insert, _blank)
    first = pick.choice(edits)(pick, base, start, middle)
    return base, first, pick.choice(edits)(pick, base, min(middle + gap, len(base)), min(middle + gap + 2, len(base)))


def _same(pick: random.Random, base: Lines) -> Sides:
    both = _side(pick, base, EDITS, pick.randint(1, 3))
    ours = _side(pick, both, EDITS, pick.randint(0, 2))
    return base, ours, _side(pick, both, EDITS, pick.randint(0, 2))


def _both_delete(pick: random.Random, base: Lines) -> Sides:
    start, end = _block(pick, base, None)
    wider = min(end + pick.choice((0, 0, 1, 3)), len(base))
    return base, base[:start] + base[end:], base[: max(start - pick.choice((0, 0, 2)), 0)] + base[wider:]


def _no_final_newline(pick: random.Random, base: Lines) -> Sides:
    base = [*base[:-1], base[-1].rstrip(b"\r\n") or b"x"] if pick.random() < 0.7 else base
    near = len(base) - 1
    edits = (_final, _retype, _insert, _delete, _repeat, _blank)
    return (
        base,
        _side(pick, base, edits, 1, near),
        _side(pick, base, edits, pick.randint(1, 2), pick.choice((near, None))),
    )


def _empty(pick: random.Random, base: Lines) -> Sides:
    base = base[: pick.choice((0, 0, 1, 2, 3))]
    sides = [[] if pick.random() < 0.4 else _side(pick, base, EDITS, 1) for _ in range(2)]
    return base, sides[0], sides[1]


def _mixed_endings(pick: random.Random, base: Lines) -> Sides:
    for _ in range(pick.randint(1, 4)):
        start, end = _block(pick, base, None)
        base = _crlf(pick, base, start, min(end + 10, len(base)))
    edits = (_crlf, _retype, _insert, _delete)
    return base, _side(pick, base, edits, pick.randint(1, 3)), _side(pick, base, edits, pick.randint(1, 3))


SCENARIOS: dict[str, Callable[[random.Random, Lines], Sides]] = {
    "edits anywhere": _apart,
    "edits close together": _close,
    "edits with 0 to 2 lines between": _adjacent,
    "blocks moved": _of(_move),
    "blocks re-indented": _of(_indent),
    "blocks and blank lines repeated": _of(_repeat, _blank),
    "line endings mixed": _mixed_endings,
    "no newline at the end": _no_final_newline,
    "the same edits and others": _same,
    "both delete": _both_delete,
    "empty and tiny files": _empty,
}


def edited_files(count: int, seed: int) -> Iterator[EditedFile]:
    """The cases, each scenario in turn."""
    names = list(SCENARIOS)
    for number in range(count):
        pick = random.Random(f"{seed}/{number}")
        scenario = names[number % len(names)]
        base, ours, theirs = SCENARIOS[scenario](pick, list(pick.choice(sources())))
        yield EditedFile(number, scenario, b"".join(base), b"".join(ours), b"".join(theirs))
