"""`judge`: an agent decides."""

from __future__ import annotations

from muster.coordination.conflicts.model import Conflict, ConflictKind, Decider, ResolutionContext
from muster.coordination.conflicts.rule import ConflictRule, Finding, Strategy, Waiting


def _settle(conflict: Conflict, rule: ConflictRule, context: ResolutionContext) -> Finding:
    return Waiting(Decider.JUDGE, "an agent decides")


STRATEGY = Strategy(
    name="judge",
    place=70,
    kinds=frozenset(ConflictKind),
    settle=_settle,
    why="an agent decided",
)
