"""Three-way merges of text and files.

libgit2 decides whether a merge is clean, with the same code as `git merge-file`: two edits that touch each other are a
conflict. Standard difflib finds the lines of a conflict; what it finds decides nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Literal

from muster.coordination.merging.outcome import Difference, Merged, Unmerged

_LINES = re.compile(r"[^\n]*\n|[^\n]+")
"""Only a line feed ends a line, as in git: a lone carriage return or a form feed is part of one."""
_NOT_TEXT = "the file is not text in UTF-8, and both sides changed it"


def merge_files(base: bytes | None, ours: bytes | None, theirs: bytes | None) -> Merged[bytes | None] | Unmerged:
    """Merge two versions of a file, None where there is none.

    A version that is the same on both sides, or that only one side changed, is taken whatever it holds. When both sides
    changed the file, only text in UTF-8 without NUL is merged. A file that one side removed and the other one changed,
    and one that both sides made differently, is a conflict.
    """
    if (side := _one_sided(base, ours, theirs)) is not None:
        return Merged(ours if side == "ours" else theirs)
    if ours is None or theirs is None:
        return Unmerged("one side removed the file and the other one changed it")
    if base is None:
        return Unmerged("both sides made the file, with different content")
    if any(b"\0" in content for content in (base, ours, theirs)):
        return Unmerged("the file is binary, and both sides changed it")
    try:
        merged = merge_text(base.decode(), ours.decode(), theirs.decode())
    except UnicodeDecodeError:
        return Unmerged(_NOT_TEXT)
    return Merged(merged.value.encode()) if isinstance(merged, Merged) else merged


def merge_text(base: str, ours: str, theirs: str) -> Merged[str] | Unmerged:
    """Merge two edits of a text, line by line, line endings included.

    Returns:
        The text, when no edit of one side touches a different edit of the other; else where they do, with the lines of
        all three.
    """
    if (side := _one_sided(base, ours, theirs)) is not None:
        return Merged(ours if side == "ours" else theirs)
    if "\0" in base + ours + theirs:
        return Unmerged("the text has binary content, and both sides changed it")
    try:
        text = _merge_with_libgit2(base.encode(), ours.encode(), theirs.encode())
    except UnicodeEncodeError:
        return Unmerged(_NOT_TEXT.replace("file", "text"))
    if text is not None:
        return Merged(text)
    lines = [_LINES.findall(text) for text in (base, ours, theirs)]
    # Difflib may align lines otherwise than git did and find nothing. The conflict stays, as one about everything.
    differences = tuple(_differences(*lines)) or (_difference((0, 0, 0), *lines),)
    places = ", ".join(difference.path for difference in differences)
    return Unmerged(f"both sides changed {places}", differences)


def _one_sided(base: object, ours: object, theirs: object) -> Literal["ours", "theirs"] | None:
    """The side that is the whole result, because the other one is equal to it or changed nothing."""
    if ours == theirs or theirs == base:
        return "ours"
    return "theirs" if ours == base else None


def _merge_with_libgit2(base: bytes, ours: bytes, theirs: bytes) -> str | None:
    """The merged text; None for a conflict."""
    import pygit2

    # Its merge takes objects of a repository: one in memory, which is gone with this call.
    objects, store, repository = pygit2.Odb(), _memory_backend()(), pygit2.Repository()
    objects.add_backend(store, 1)
    repository.set_odb(objects)
    old, one, other = (
        pygit2.IndexEntry("text", repository.create_blob(content), pygit2.enums.FileMode.BLOB)
        for content in (base, ours, theirs)
    )
    merged = repository.merge_file_from_index(old, one, other)
    return merged.contents if merged.automergeable else None


@cache
def _memory_backend() -> Any:
    """The class of a repository's store of objects in memory; pygit2 has none."""
    import pygit2

    class MemoryBackend(pygit2.OdbBackend):
        def __init__(self) -> None:
            super().__init__()
            self.objects: dict[str, tuple[int, bytes]] = {}

        def read_cb(self, oid: object) -> tuple[int, bytes]:
            return self.objects[str(oid)]

        def read_header_cb(self, oid: object) -> tuple[int, int]:
            kind, data = self.objects[str(oid)]
            return kind, len(data)

        def write_cb(self, oid: object, data: bytes, kind: int) -> None:
            self.objects[str(oid)] = kind, data

        def exists_cb(self, oid: object) -> bool:
            return str(oid) in self.objects

        def refresh_cb(self) -> None:
            """Nothing else writes here."""

    return MemoryBackend


def _differences(base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> Iterator[Difference]:
    """What both sides changed in different ways, between lines that both of them kept."""
    in_ours, in_theirs = _kept(base, ours), _kept(base, theirs)
    ends = len(base), len(ours), len(theirs)
    kept = [(line, in_ours[line], in_theirs[line]) for line in sorted(in_ours.keys() & in_theirs.keys())]
    starts = 0, 0, 0
    for stops in (*kept, ends):
        was, one, other = (
            part[start:stop] for part, start, stop in zip((base, ours, theirs), starts, stops, strict=True)
        )
        if was not in (one, other) and one != other:
            yield _difference(starts, was, one, other)
        starts = stops[0] + 1, stops[1] + 1, stops[2] + 1


def _kept(base: Sequence[str], side: Sequence[str]) -> dict[int, int]:
    """The position in the side of each line that it kept."""
    blocks = difflib.SequenceMatcher(None, base, side).get_matching_blocks()
    return {block.a + offset: block.b + offset for block in blocks for offset in range(block.size)}


def _difference(
    starts: tuple[int, int, int], base: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
) -> Difference:
    first, last = starts[0] + 1, starts[0] + len(base)
    path = f"lines {first} to {last}" if last > first else f"line {first}"
    return Difference(path, tuple(base), tuple(ours), tuple(theirs), first, starts[1] + 1, starts[2] + 1)
