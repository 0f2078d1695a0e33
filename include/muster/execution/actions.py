"""What is done for a step, and what its `fallback` does instead."""

from __future__ import annotations

from dataclasses import replace

from muster.agents.runner import RULES
from muster.errors import PermanentError
from muster.execution.kinds import ACTIONS
from muster.execution.kinds.agent import ask_agent, goes_on
from muster.execution.kinds.skill import call
from muster.execution.piece import Answer, Piece
from muster.execution.services import Services
from muster.language.kinds.agent import ResolvedAgent
from muster.language.resolved import ResolvedAgentFallback, ResolvedSkillFallback
from muster.language.resolved_step import ResolvedStep
from muster.recovery.breakers import BreakerOpen


async def act(services: Services, piece: Piece) -> Answer:
    """Do what the step says for one piece of work; while a circuit breaker is open, its `fallback` comes at once."""
    try:
        return await ACTIONS[piece.step.kind].act(services, piece, piece.step)
    except BreakerOpen as error:
        if piece.step.fallback is None or not goes_on(piece, error):
            raise
        raise PermanentError(error.message, remedy=error.remedy) from error


async def fall_back(services: Services, piece: Piece) -> Answer:
    """Do what the step's `fallback` says instead."""
    match piece.step.fallback:
        case ResolvedSkillFallback(skill=skill, arguments=arguments):
            answer = await call(services, piece, skill, arguments)
            return replace(answer, produced_by=RULES) if piece.step.agents else answer
        case ResolvedAgentFallback(agent=agent, ask=ask, arguments=arguments):
            returns = piece.step.returns if isinstance(piece.step, ResolvedAgent) else None
            return await ask_agent(services, piece, agent, ask, arguments, returns)
    raise PermanentError(f"Step {piece.step.id} has no fallback.")


def uses_threads(step: ResolvedStep, services: Services) -> bool:
    """True when the step calls a blocking function, so that only a few items can be worked on at once."""
    action = ACTIONS.get(step.kind)
    return action is not None and action.uses_threads(services, step)
