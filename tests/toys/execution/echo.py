"""`echo`: says it."""

from __future__ import annotations

from muster.execution.action import Action
from muster.execution.piece import Answer, Piece
from muster.execution.services import Services
from muster.language.expressions import evaluate


async def _act(services: Services, piece: Piece) -> Answer:
    said = evaluate(piece.step.own["echo"], piece.variables, where=f"step {piece.step.id}, echo")
    return Answer(output=[said] * piece.step.own["times"])


ACTION = Action(_act)
