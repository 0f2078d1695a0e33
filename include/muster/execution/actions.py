"""Does the work of a step, or its `fallback`."""

from __future__ import annotations

from dataclasses import replace

from muster.agents.runner import RULES
from muster.errors import PermanentError
from muster.execution.kinds import ACTIONS
from muster.execution.kinds.agent import ask_agent, goes_on
from muster.execution.kinds.skill import call
from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.kinds.agent import ResolvedAgent
from muster.language.resolved import ResolvedAgentFallback, ResolvedSkillFallback
from muster.language.resolved_step import ResolvedStep
from muster.recovery.breakers import BreakerOpen


async def act(services: Services, work_item: WorkItem) -> ActionResult:
    """Do the work of a step for one work item and return its result.

    Raises:
        PermanentError: a circuit breaker is open and the step has a fallback, which then takes over without a retry.
        BreakerOpen: a circuit breaker is open and nothing takes over; the step's retries decide.
        Exception: the error of the action.
    """
    try:
        return await ACTIONS[work_item.step.kind].act(services, work_item, work_item.step)
    except BreakerOpen as error:
        if work_item.step.fallback is None or not goes_on(work_item, error):
            raise
        raise PermanentError(error.message, remedy=error.remedy) from error


async def fall_back(services: Services, work_item: WorkItem) -> ActionResult:
    """Do the step's `fallback` for one work item and return its result."""
    match work_item.step.fallback:
        case ResolvedSkillFallback(skill=skill, arguments=arguments):
            answer = await call(services, work_item, skill, arguments)
            return replace(answer, produced_by=RULES) if work_item.step.agents else answer
        case ResolvedAgentFallback(agent=agent, ask=ask, arguments=arguments):
            returns = work_item.step.returns if isinstance(work_item.step, ResolvedAgent) else None
            return await ask_agent(services, work_item, agent, ask, arguments, returns)
    raise PermanentError(f"Step {work_item.step.id} has no fallback.")


def uses_threads(step: ResolvedStep, services: Services) -> bool:
    """True when the step calls a blocking function, so that only a few items can be worked on at once."""
    action = ACTIONS.get(step.kind)
    return action is not None and action.uses_threads(services, step)
