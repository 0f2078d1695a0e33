"""`prefix`: each agent has the name with its own id before it."""

from __future__ import annotations

from muster.coordination.conflicts.model import Conflict, ConflictKind, ResolutionContext
from muster.coordination.conflicts.rule import ConflictRule, Finding, Strategy
from muster.coordination.merging import prefixed


def _settle(conflict: Conflict, rule: ConflictRule, context: ResolutionContext) -> Finding:
    return prefixed(conflict.resource, [side.agent for side in conflict.sides], context.taken_names)


STRATEGY = Strategy(
    name="prefix",
    place=50,
    kinds=frozenset({ConflictKind.NAMES}),
    settle=_settle,
    why="each agent has a name of its own",
)
