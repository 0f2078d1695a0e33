"""What the log is told of a team when its plan is laid out: its members, and the names of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from muster.coordination.formation import form
from muster.coordination.plans import Plan
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep


class LaidOut(TypedDict, total=False):
    """What is written of a team when its plan is laid out."""

    members: list[str]
    names: list[str | None] | None


NO_TEAM = LaidOut()
"""What is written of any other fan-out."""


def team_of(
    definition: Definition, step: ResolvedStep, items: Sequence[object], variables: Mapping[str, object]
) -> LaidOut:
    """The agents of a team and the names of its tasks, for the event that lays its plan out.

    Raises:
        PermanentError: the agents cannot carry the plan out, or `size` gives no number.
    """
    if not step.pulls:
        return NO_TEAM
    if not items:
        return LaidOut(members=[], names=[])
    able = {name: frozenset(definition.agents[name].skills) for name in step.agents}
    members = form(Plan.laid_out(items), able, step.places(variables), grows=step.grows)
    return LaidOut(members=[member.agent for member in members], names=step.names_of(items))
