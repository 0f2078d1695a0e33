"""`echo`: says it."""

from __future__ import annotations

from muster.execution.action import Action
from muster.execution.piece import Answer, Piece
from muster.execution.services import Services
from muster.language.expressions import evaluate
from muster.language.kinds.echo import ResolvedEcho


async def _act(services: Services, piece: Piece, step: ResolvedEcho) -> Answer:
    said = evaluate(step.echo, piece.variables, where=f"step {step.id}, echo")
    return Answer(output=[said] * step.times)


ACTION = Action(_act)
