"""`quorum`: several agents vote on whose value counts."""

from __future__ import annotations

from muster.coordination.conflicts.model import Conflict, ConflictKind, Decider, ResolutionContext
from muster.coordination.conflicts.rule import ConflictRule, Finding, Strategy, Waiting
from muster.coordination.merging import Merged, Unmerged, VoteOpen, vote


def _settle(conflict: Conflict, rule: ConflictRule, context: ResolutionContext) -> Finding:
    if context.ballots is None:
        return Waiting(Decider.QUORUM, "nobody has voted yet")
    values = {side.agent: side.value for side in conflict.sides}
    if unknown := sorted(set(filter(None, context.ballots.cast.values())) - values.keys()):
        return Unmerged(f"votes went to `{unknown[0]}`, which is no side of the conflict")
    chosen = vote(context.ballots, rule.votes)
    if isinstance(chosen, VoteOpen):
        return Waiting(Decider.QUORUM, chosen.reason)
    return Merged(values[chosen.value]) if isinstance(chosen, Merged) else chosen


STRATEGY = Strategy(
    name="quorum",
    place=60,
    kinds=frozenset(ConflictKind) - {ConflictKind.NAMES},
    settle=_settle,
    why="a quorum voted for it",
    options=frozenset({"votes"}),
)
