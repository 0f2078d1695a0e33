"""`highest_compatible`: the highest version of a dependency that satisfies all sides."""

from __future__ import annotations

from muster.coordination.conflicts.model import Conflict, ConflictKind, ResolutionContext
from muster.coordination.conflicts.rule import ConflictRule, Finding, Strategy
from muster.coordination.merging import highest_compatible


def _settle(conflict: Conflict, rule: ConflictRule, context: ResolutionContext) -> Finding:
    return highest_compatible([str(side.value) for side in conflict.sides], context.versions)


STRATEGY = Strategy(
    name="highest_compatible",
    place=40,
    kinds=frozenset({ConflictKind.DEPENDENCIES}),
    settle=_settle,
    why="it is the highest version that satisfies all sides",
)
