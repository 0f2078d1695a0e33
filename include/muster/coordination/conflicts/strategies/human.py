"""`human`: a person decides."""

from __future__ import annotations

from muster.coordination.conflicts.model import Conflict, ConflictKind, Decider, ResolutionContext
from muster.coordination.conflicts.rule import ConflictRule, Finding, Strategy, Waiting


def _settle(conflict: Conflict, rule: ConflictRule, context: ResolutionContext) -> Finding:
    return Waiting(Decider.HUMAN, "a person decides")


STRATEGY = Strategy(
    name="human",
    place=80,
    kinds=frozenset(ConflictKind),
    settle=_settle,
    why="a person decided",
)
