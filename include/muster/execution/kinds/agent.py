"""`agent`: asks an agent, and the next one that fits while the circuit breaker of one is open."""

from __future__ import annotations

from collections.abc import Mapping

from muster.agents.call import AgentCall, doer
from muster.agents.prompts import fence
from muster.agents.runner import run_agent
from muster.errors import TransientError
from muster.execution.action import Action
from muster.execution.conversations import asked_under, takes_over
from muster.execution.reading import documents_of_run
from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.expressions import evaluate, evaluate_marked
from muster.language.kinds.agent import ResolvedAgent
from muster.recovery.attempts import quiet
from muster.recovery.breakers import BreakerOpen, policy_of
from muster.recovery.ledger import Ledger, Outside


async def _act(services: Services, work_item: WorkItem, step: ResolvedAgent) -> ActionResult:
    if (outside := await _outside(services, work_item, step)) is None:
        return await _ask_in_turn(services, work_item, step, *step.agents)
    # The agent that has acted outside goes on, also when another agent took over for an open breaker that has closed
    # since: the first agent would do it a second time.
    return await _ask_in_turn(services, work_item, step, doer(work_item.effect_key, outside.key)[0] or step.agent)


async def _ask_in_turn(
    services: Services, work_item: WorkItem, step: ResolvedAgent, agent: str, *others: str
) -> ActionResult:
    try:
        return await ask_agent(services, work_item, agent, step.ask, step.arguments, step.returns)
    except BreakerOpen as error:
        if not goes_on(work_item, error):
            raise
        # Other tools of the agent may still run in threads that were given up. Wait for them before the ledger is
        # asked: an effect that they begin after the question would be done again by the next agent.
        await quiet(work_item.work)
        if (outside := await _outside(services, work_item, step)) is not None:
            raise TransientError(
                f"{error.message} {outside.told}, so no other agent was asked.",
                remedy=error.remedy,
                retry_after=error.retry_after,
            ) from error
        if not others:
            raise
    return await _ask_in_turn(services, work_item, step, *others)


async def _outside(services: Services, work_item: WorkItem, step: ResolvedAgent) -> Outside | None:
    """The effect outside that has happened, or may have; None also when no other agent could take over."""
    return await Ledger(services.database).aoutside(work_item.view.id, work_item.effect_key) if step.others else None


def goes_on(work_item: WorkItem, error: BreakerOpen) -> bool:
    """True when the automation wants another agent or the fallback to take over while a breaker is open."""
    return policy_of(work_item.view.definition.settings, error.name).when_open == "next"


async def ask_agent(
    services: Services,
    work_item: WorkItem,
    name: str,
    ask: str,
    arguments: Mapping[str, object],
    returns: Mapping[str, object] | str | None,
) -> ActionResult:
    """Ask an agent about a work item; `returns` overrides the type of its answer."""
    definition = work_item.view.definition
    agent = definition.agents[name]
    call = AgentCall(
        run=work_item.view.id,
        step=work_item.step.id,
        index=work_item.index,
        key=asked_under(work_item, work_item.asked_in, agent.id),
        effect_key=work_item.effect_key,
        agent=agent,
        takes_over=takes_over(work_item, agent.id),
        ask=evaluate_marked(ask, work_item.variables, fence, where=f"step {work_item.step.id}, ask"),
        data=evaluate(arguments, work_item.variables, where=f"step {work_item.step.id}, with"),
        returns=returns if returns is not None else agent.returns,
        budget=definition.budget,
        settings=definition.settings,
        documents=documents_of_run(services, work_item.view),
    )
    result = await run_agent(call, services)
    return ActionResult(output=result.output, output_type=result.output_type, produced_by=result.produced_by)


ACTION = Action(_act)
