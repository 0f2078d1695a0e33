"""`three_way`: files are merged line by line with what was there before."""

from __future__ import annotations

from muster.coordination.conflicts.model import Conflict, ConflictKind, ResolutionContext
from muster.coordination.conflicts.rule import ConflictRule, Finding, Strategy, fold
from muster.coordination.merging import Merged, Unmerged, merge_files


def _settle(conflict: Conflict, rule: ConflictRule, context: ResolutionContext) -> Finding:
    return fold(conflict, _merge)


def _merge(base: object, ours: object, theirs: object) -> Merged[object] | Unmerged:
    if isinstance(base, bytes | None) and isinstance(ours, bytes | None) and isinstance(theirs, bytes | None):
        return merge_files(base, ours, theirs)
    return Unmerged("the sides are no files")


STRATEGY = Strategy(
    name="three_way",
    place=10,
    kinds=frozenset({ConflictKind.FILES}),
    settle=_settle,
    why="no edit of one side touches a different edit of another",
)
