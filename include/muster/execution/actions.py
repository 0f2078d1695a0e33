"""What each kind of step does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from muster.agents.call import AgentCall
from muster.agents.prompts import fence
from muster.agents.runner import run_agent
from muster.errors import PermanentError
from muster.execution.conversations import asked_under
from muster.execution.piece import Answer, Piece
from muster.execution.reading import documents_of_run
from muster.execution.services import Services
from muster.language.conditions import is_true
from muster.language.definition import ResolvedStep, ResolvedTarget
from muster.language.expressions import evaluate, evaluate_marked
from muster.notifications.model import Notice
from muster.recovery.breakers import BreakerOpen, policy_of
from muster.recovery.fencing import fenced
from muster.skills.calling import call_skill
from muster.skills.registry import SkillContext, get_skill


async def act(services: Services, piece: Piece) -> Answer:
    """Do what the step says for one piece of work; while a circuit breaker is open, its `fallback` comes at once."""
    try:
        return await _ACTIONS[piece.step.kind](services, piece)
    except BreakerOpen as error:
        if piece.step.fallback is None or not _goes_on(piece, error):
            raise
        raise PermanentError(error.message, remedy=error.remedy) from error


async def fall_back(services: Services, piece: Piece) -> Answer:
    """Do what the step's `fallback` says instead."""
    other = piece.step.fallback
    if other is None:
        raise PermanentError(f"Step {piece.step.id} has no fallback.")
    if other.skill is not None:
        return await _call_skill(services, piece, other.skill, other.arguments)
    return await _ask_agent(services, piece, other.agent, other.ask, other.arguments)


def uses_threads(step: ResolvedStep, services: Services) -> bool:
    """True when the step calls a blocking function, so that only a few items can be worked on at once."""
    return step.kind == "skill" and not get_skill(_named(step.skill), services.site).is_async


def skill_context(services: Services, piece: Piece) -> SkillContext:
    """What a skill may know of the piece it works for."""
    key = piece.effect_key
    return SkillContext(
        run=piece.view.id,
        step=piece.step.id,
        index=piece.index,
        key=f"{key}/undo" if piece.undoes else key,
        undoes=key if piece.undoes else None,
        now=services.clock(),
        database=fenced(services.database),
        workspace=services.workspace(piece.view.id),
        settings=piece.view.definition.settings,
        documents=documents_of_run(services, piece.view),
    )


async def _skill(services: Services, piece: Piece) -> Answer:
    return await _call_skill(services, piece, piece.step.skill, piece.step.arguments)


async def _call_skill(services: Services, piece: Piece, name: str | None, arguments: Mapping[str, Any]) -> Answer:
    skill = get_skill(_named(name), services.site)
    values = evaluate(arguments, piece.variables, where=f"step {piece.step.id}, with")
    output = await call_skill(skill, values, skill_context(services, piece))
    return Answer(output=output, output_type=f"skill:{skill.name}")


async def _agent(services: Services, piece: Piece) -> Answer:
    *preferred, last = (piece.step.agent, *piece.step.others)
    for agent in preferred:
        try:
            return await _ask_agent(services, piece, agent, piece.step.ask, piece.step.arguments)
        except BreakerOpen as error:
            if not _goes_on(piece, error):
                raise
    return await _ask_agent(services, piece, last, piece.step.ask, piece.step.arguments)


def _goes_on(piece: Piece, error: BreakerOpen) -> bool:
    """True when the automation wants somebody else to do what a breaker keeps from being done."""
    return policy_of(piece.view.definition.settings, error.name).when_open == "next"


async def _ask_agent(
    services: Services, piece: Piece, name: str | None, ask: str | None, arguments: Mapping[str, Any]
) -> Answer:
    definition = piece.view.definition
    agent = definition.agents[_named(name)]
    returns = piece.step.returns if piece.step.returns is not None else agent.returns
    call = AgentCall(
        run=piece.view.id,
        step=piece.step.id,
        index=piece.index,
        key=asked_under(piece, piece.asked_in, agent.id),
        effect_key=piece.effect_key,
        agent=agent,
        ask=evaluate_marked(ask or "", piece.variables, fence, where=f"step {piece.step.id}, ask"),
        data=evaluate(arguments, piece.variables, where=f"step {piece.step.id}, with"),
        returns=returns,
        budget=definition.budget,
        settings=definition.settings,
        documents=documents_of_run(services, piece.view),
    )
    result = await run_agent(call, services)
    return Answer(output=result.output, output_type=result.output_type, produced_by=result.produced_by)


async def _notify(services: Services, piece: Piece) -> Answer:
    deliveries = []
    for number, notice in enumerate(_notices(piece, piece.step.notify)):
        key = f"{piece.effect_key}/notice/{number}"
        delivery = await services.notices.send(Notice(run=piece.view.id, key=key, **notice))
        deliveries.append(delivery.model_dump(mode="json"))
    return Answer(output=deliveries)


def _notices(piece: Piece, targets: Sequence[ResolvedTarget]) -> Iterator[dict[str, Any]]:
    """One notice for each place: a target may name several addresses."""
    for target in targets:
        values = evaluate(target.model_dump(), piece.variables, where=f"step {piece.step.id}, notify")
        subject = values["subject"] or piece.view.definition.title
        if values["slack"] is not None:
            yield {"channel": "slack", "target": values["slack"], "text": values["text"]}
        for address in values["email"] or ():
            yield {"channel": "email", "target": address, "subject": subject, "text": values["text"]}


async def _branch(services: Services, piece: Piece) -> Answer:
    return Answer(output=ways_taken(piece.step, piece.variables))


def ways_taken(step: ResolvedStep, variables: Mapping[str, Any]) -> list[str]:
    """The steps that a branch goes on with: those of its first way whose `when` is true."""
    for way in step.branch:
        if way.when is None or is_true(way.when, variables, where=f"step {step.id}, branch"):
            return list(way.to)
    return []


def _named(name: str | None) -> str:
    if name is None:
        raise PermanentError("The step names nothing to call.")
    return name


_ACTIONS: dict[str, Callable[[Services, Piece], Awaitable[Answer]]] = {
    "skill": _skill,
    "agent": _agent,
    "notify": _notify,
    "branch": _branch,
}
