"""`notify`: sends notices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from muster.execution.action import Action
from muster.execution.piece import Answer, Piece
from muster.execution.services import Services
from muster.language.channels import CHANNELS
from muster.language.expressions import evaluate
from muster.language.kinds.notify import ResolvedNotify
from muster.language.resolved import ResolvedTarget, places_in
from muster.notifications.model import Notice


async def _act(services: Services, piece: Piece, step: ResolvedNotify) -> Answer:
    deliveries = []
    for number, notice in enumerate(_notices(piece, step.notify)):
        key = f"{piece.effect_key}/notice/{number}"
        delivery = await services.notices.send(Notice(run=piece.view.id, key=key, **notice))
        deliveries.append(delivery.model_dump(mode="json"))
    return Answer(output=deliveries, produced_by="notice")


def _notices(piece: Piece, targets: Sequence[ResolvedTarget]) -> Iterator[dict[str, object]]:
    """One notice for each place: a target may name several addresses."""
    for target in targets:
        values = evaluate(target.model_dump(), piece.variables, where=f"step {piece.step.id}, notify")
        for channel, place in places_in(values):
            subject = (values["subject"] or piece.view.definition.title) if CHANNELS[channel].has_subject else ""
            yield {"channel": channel, "target": place, "subject": subject, "text": values["text"]}


ACTION = Action(_act)
