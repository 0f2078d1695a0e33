"""`field_wise`: records are merged field by field with what was there before."""

from __future__ import annotations

from muster.coordination.conflicts.model import Conflict, ConflictKind, ResolutionContext
from muster.coordination.conflicts.rule import ConflictRule, Finding, Strategy, fold
from muster.coordination.merging import ABSENT, Merged, Unmerged, merge_records


def _settle(conflict: Conflict, rule: ConflictRule, context: ResolutionContext) -> Finding:
    def merge(base: object, ours: object, theirs: object) -> Merged[object] | Unmerged:
        return merge_records(ABSENT if base is None else base, ours, theirs, rule.lists)

    return fold(conflict, merge)


STRATEGY = Strategy(
    name="field_wise",
    place=20,
    kinds=frozenset({ConflictKind.RECORDS, ConflictKind.CONTRACTS}),
    settle=_settle,
    why="no two sides gave one field different values",
    options=frozenset({"lists"}),
)
