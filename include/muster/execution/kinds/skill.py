"""`skill`: calls a typed Python function."""

from __future__ import annotations

from collections.abc import Mapping

from muster.execution.action import Action
from muster.execution.reading import documents_of_run
from muster.execution.services import Services
from muster.execution.sharing import together
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.expressions import evaluate
from muster.language.kinds.skill import ResolvedSkill
from muster.recovery.fencing import fenced
from muster.skills.calling import call_skill
from muster.skills.registry import SkillContext, get_skill


async def call(services: Services, work_item: WorkItem, name: str, arguments: Mapping[str, object]) -> ActionResult:
    """Call a skill for a work item."""
    skill = get_skill(name, services.site)
    values = evaluate(arguments, work_item.variables, where=f"step {work_item.step.id}, with")
    context = skill_context(services, work_item)
    if work_item.step.context is not None and skill.wants_context:
        # Also if this attempt comes to write nothing: what an earlier one has written does not stay.
        await context.board.abegin()
    output = await call_skill(skill, values, context)
    return ActionResult(output=output, output_type=f"skill:{skill.name}")


def skill_context(services: Services, work_item: WorkItem) -> SkillContext:
    """The context of a skill that works for a work item."""
    key = work_item.effect_key
    return SkillContext(
        run=work_item.view.id,
        step=work_item.step.id,
        index=work_item.index,
        key=f"{key}/undo" if work_item.undoes else key,
        undoes=key if work_item.undoes else None,
        now=services.clock(),
        database=fenced(services.database),
        workspace=services.workspace(work_item.view.id),
        settings=work_item.view.definition.settings,
        documents=documents_of_run(services, work_item.view),
        together=together(services, work_item),
    )


async def _act(services: Services, work_item: WorkItem, step: ResolvedSkill) -> ActionResult:
    return await call(services, work_item, step.skill, step.arguments)


def _is_blocking(services: Services, step: ResolvedSkill) -> bool:
    return not get_skill(step.skill, services.site).is_async


ACTION = Action(_act, uses_threads=_is_blocking)
