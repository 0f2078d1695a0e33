"""`agent`: asks an agent, and the next one that fits while the circuit breaker of one is open."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from muster.agents.call import AgentCall, doer
from muster.agents.prompts import fence
from muster.agents.runner import run_agent
from muster.agents.types import Returns
from muster.errors import TransientError
from muster.execution.action import Action
from muster.execution.conversations import asked_under, takes_over
from muster.execution.reading import documents_of_run
from muster.execution.services import Services
from muster.execution.sharing import PROMPTED, asked_of, shown_context, together
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.expressions import evaluate, evaluate_marked
from muster.language.kinds.agent import ResolvedAgent
from muster.language.shares import ResolvedShares
from muster.recovery.attempts import quiet
from muster.recovery.breakers import BreakerOpen, policy_of
from muster.recovery.ledger import Ledger, Outside

Ask = Callable[[str], Awaitable[ActionResult]]
"""Asks the agent with this id."""


async def _act(services: Services, work_item: WorkItem, step: ResolvedAgent) -> ActionResult:
    return await ask_one_of(
        services,
        work_item,
        step.agents,
        lambda agent: ask_agent(services, work_item, agent, step.ask, step.arguments, step.returns),
    )


async def ask_one_of(services: Services, work_item: WorkItem, agents: Sequence[str], ask: Ask) -> ActionResult:
    """Ask the first of the agents, and the next one while the circuit breaker of one is open."""
    if (outside := await _outside(services, work_item)) is None:
        return await _ask_in_turn(services, work_item, ask, *agents)
    # The agent that has acted outside goes on, also when another agent took over for an open breaker that has closed
    # since: the first agent would do it a second time.
    own = work_item.step.agents[0]
    return await _ask_in_turn(services, work_item, ask, doer(work_item.effect_key, outside.key)[0] or own)


async def _ask_in_turn(services: Services, work_item: WorkItem, ask: Ask, agent: str, *others: str) -> ActionResult:
    try:
        return await ask(agent)
    except BreakerOpen as error:
        if not goes_on(work_item, error):
            raise
        # Other tools of the agent may still run in threads that were given up. Wait for them before the ledger is
        # asked: an effect that they begin after the question would be done again by the next agent.
        await quiet(work_item.work)
        if (outside := await _outside(services, work_item)) is not None:
            raise TransientError(
                f"{error.message} {outside.told}, so no other agent was asked.",
                remedy=error.remedy,
                retry_after=error.retry_after,
            ) from error
        if not others:
            raise
    return await _ask_in_turn(services, work_item, ask, *others)


async def _outside(services: Services, work_item: WorkItem) -> Outside | None:
    """The effect outside that has happened, or may have; None also when no other agent could take over."""
    if len(work_item.step.agents) < 2:
        return None
    return await Ledger(services.database).aoutside(work_item.view.id, work_item.effect_key)


def goes_on(work_item: WorkItem, error: BreakerOpen) -> bool:
    """True when the automation wants another agent or the fallback to take over while a breaker is open."""
    return policy_of(work_item.view.definition.settings, error.name).when_open == "next"


async def ask_agent(
    services: Services,
    work_item: WorkItem,
    name: str,
    ask: str,
    arguments: Mapping[str, object],
    returns: Returns | None,
) -> ActionResult:
    """Ask an agent what a step says about a work item; `returns` overrides the type of its answer."""
    where = f"step {work_item.step.id}"
    said = evaluate_marked(ask, work_item.variables, fence, where=f"{where}, ask")
    return await put(
        services, work_item, name, said, evaluate(arguments, work_item.variables, where=f"{where}, with"), returns
    )


async def put(
    services: Services,
    work_item: WorkItem,
    name: str,
    ask: str,
    data: Mapping[str, object],
    returns: Returns | None,
    shares: ResolvedShares | None = None,
) -> ActionResult:
    """Ask an agent about a work item, in these words and with this data: no expression in them is evaluated.

    It is shown what it may read of the shared context: by `shares`, else as the step says.
    """
    definition = work_item.view.definition
    agent = definition.agents[name]
    key, shares = asked_under(work_item, work_item.asked_in, agent.id), shares or work_item.step.context
    if shares is not None:
        asked = asked_of(ask, data)
        data = {**data, PROMPTED: await shown_context(services, work_item, agent.id, key, asked, shares)}
    call = AgentCall(
        run=work_item.view.id,
        step=work_item.step.id,
        index=work_item.index,
        key=key,
        effect_key=work_item.effect_key,
        agent=agent,
        takes_over=takes_over(work_item, agent.id),
        ask=ask,
        data=data,
        returns=returns if returns is not None else agent.returns,
        budget=definition.budget,
        settings=definition.settings,
        documents=documents_of_run(services, work_item.view),
        together=together(services, work_item, agent=agent.id, shares=shares),
        refuses=work_item.growing.refusal if work_item.growing is not None else None,
    )
    result = await run_agent(call, services)
    return ActionResult(output=result.output, output_type=result.output_type, produced_by=result.produced_by)


ACTION = Action(_act)
