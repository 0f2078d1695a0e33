"""`branch`: takes one of several ways."""

from __future__ import annotations

from collections.abc import Mapping

from muster.execution.action import Action
from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.conditions import is_true
from muster.language.kinds.branch import ResolvedBranch


async def _act(services: Services, work_item: WorkItem, step: ResolvedBranch) -> ActionResult:
    return ActionResult(output=ways_taken(step, work_item.variables))


def ways_taken(step: ResolvedBranch, variables: Mapping[str, object]) -> list[str]:
    """The steps that a branch goes on with: those of its first way whose `when` is true."""
    for way in step.branch:
        if way.when is None or is_true(way.when, variables, where=f"step {step.id}, branch"):
            return list(way.to)
    return []


ACTION = Action(_act)
