"""`newest`: what was written last wins."""

from __future__ import annotations

from muster.coordination.conflicts.model import Conflict, ConflictKind, ResolutionContext
from muster.coordination.conflicts.rule import ConflictRule, Finding, Strategy
from muster.coordination.merging import Dated, newest


def _settle(conflict: Conflict, rule: ConflictRule, context: ResolutionContext) -> Finding:
    return newest([Dated(side.value, side.at) for side in conflict.sides])


STRATEGY = Strategy(
    name="newest",
    place=30,
    kinds=frozenset(ConflictKind) - {ConflictKind.NAMES},
    settle=_settle,
    why="it was written last",
)
