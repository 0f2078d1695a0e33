"""What each kind of step does."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from muster.agents.runner import AgentCall, run_agent
from muster.errors import MusterError, PermanentError
from muster.execution.piece import Answer, Piece
from muster.execution.services import Services
from muster.language.definition import ResolvedAction
from muster.language.expressions import evaluate
from muster.notifications.model import Notice
from muster.skills.registry import Skill, SkillContext, get_skill

T = TypeVar("T")


async def act(services: Services, piece: Piece, action: ResolvedAction) -> Answer:
    """Do what `action` says for one piece of work."""
    return await _ACTIONS[action.kind](services, piece, action)


async def call_skill(skill: Skill, values: Mapping[str, Any], context: SkillContext) -> Any:
    """Call a skill with validated arguments; a blocking one runs in a thread of its own.

    Returns:
        The result as JSON-ready data.
    """
    arguments = skill.arguments(values)
    if skill.wants_context:
        arguments["context"] = context
    if skill.is_async:
        result = await skill.function(**arguments)
    else:
        result = await in_thread(partial(skill.function, **arguments))
    return skill.dump(result)


async def in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a daemon thread, so that one that hangs cannot hold up the exit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: T | None, error: BaseException | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]
            else:
                future.set_exception(error)

    def run() -> None:
        try:
            result, error = context.run(function), None
        except BaseException as caught:
            result, error = None, caught
        loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="muster-skill", daemon=True).start()
    return await future


def skill_context(services: Services, piece: Piece) -> SkillContext:
    """What a skill may know of the piece it works for."""
    return SkillContext(
        run=piece.view.id,
        step=piece.step.id,
        index=piece.index,
        key=f"{piece.view.id}/{piece.key}",
        now=services.clock(),
        database=services.database,
        workspace=services.workspace(piece.view.id),
        settings=piece.view.definition.settings,
    )


async def _skill(services: Services, piece: Piece, action: ResolvedAction) -> Answer:
    skill = get_skill(_named(action.skill), services.site)
    values = evaluate(action.arguments, piece.variables)
    output = await call_skill(skill, values, skill_context(services, piece))
    return Answer(output=output, output_type=f"skill:{skill.name}")


async def _agent(services: Services, piece: Piece, action: ResolvedAction) -> Answer:
    agent = piece.view.definition.agents[_named(action.agent)]
    returns = action.returns if action.returns is not None else agent.returns
    call = AgentCall(
        run=piece.view.id,
        step=piece.step.id,
        index=piece.index,
        key=piece.key,
        agent=agent,
        ask=str(evaluate(action.ask, piece.variables)),
        data=evaluate(action.arguments, piece.variables),
        returns=returns,
        budget=piece.view.definition.budget,
    )
    result = await run_agent(call, services)
    return Answer(output=result.output, output_type=result.output_type, produced_by=result.produced_by)


async def _notify(services: Services, piece: Piece, action: ResolvedAction) -> Answer:
    deliveries = []
    for number, template in enumerate(action.notices):
        values = evaluate(template, piece.variables)
        notice = Notice(run=piece.view.id, key=f"{piece.view.id}/{piece.key}/notice/{number}", **values)
        deliveries.append(await services.notices.send(notice))
    return Answer(output=[delivery.model_dump(mode="json") for delivery in deliveries])


async def _branch(services: Services, piece: Piece, action: ResolvedAction) -> Answer:
    for way in action.ways:
        if way.when is None or evaluate(way.when, piece.variables):
            return Answer(output=list(way.to))
    return Answer(output=[])


def _named(name: str | None) -> str:
    if name is None:
        raise PermanentError("The step's action names nothing to call.")
    return name


_ACTIONS: dict[str, Callable[[Services, Piece, ResolvedAction], Awaitable[Answer]]] = {
    "skill": _skill,
    "agent": _agent,
    "notify": _notify,
    "branch": _branch,
}
