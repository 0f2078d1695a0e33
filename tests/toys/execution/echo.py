"""`echo`: says it."""

from __future__ import annotations

from muster.execution.action import Action
from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.expressions import evaluate
from muster.language.kinds.echo import ResolvedEcho


async def _act(services: Services, work_item: WorkItem, step: ResolvedEcho) -> ActionResult:
    said = evaluate(step.echo, work_item.variables, where=f"step {step.id}, echo")
    return ActionResult(output=[said] * step.times)


ACTION = Action(_act)
