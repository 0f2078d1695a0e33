"""An approval that outlives a restart: `on_restart: keep`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain

from muster.approvals.asking import CLOSED, Request, request, wording
from muster.approvals.escalation import human_of
from muster.events import keys
from muster.events.model import Event
from muster.events.payloads.people import ApprovalAnswered, ApprovalRequested
from muster.events.payloads.work import StepSucceeded
from muster.execution.concurrency import undisturbed
from muster.execution.fanout import end
from muster.execution.outcome import Outcome
from muster.execution.piece import Answer, Piece
from muster.execution.services import Services
from muster.execution.stopping import has_closed


async def ask(services: Services, piece: Piece) -> Request | Outcome:
    """The question as it is put to people; how it was decided, where an earlier approval stands.

    Raises:
        PermanentError: nobody is left who may answer.
    """
    return await keep_answer(services, piece) or await request(services, piece)


async def keep_answer(services: Services, piece: Piece) -> Outcome | None:
    """Let an approval of an earlier execution of the run stand, where the automation says so.

    Only a person's approval stands, and only for the same question: word for word, with the same details, of the
    same people. None means that the question is to be asked. When the run has ended meanwhile, nothing is
    written of it.
    """
    if human_of(piece).on_restart != "keep" or piece.ref.epoch == 0:
        return None
    return await undisturbed(partial(_keep, services, piece))


async def _keep(services: Services, piece: Piece) -> Outcome | None:
    # Before anything is read: if the run is closed or cancelled after this version, the append is refused.
    version = await services.log.aversion(piece.ref.run)
    if await has_closed(services, piece.ref):
        return CLOSED
    earlier = await _last_answered(services, piece)
    if earlier is None:
        return None
    asked, answered = earlier
    said = ApprovalAnswered.of(answered)
    if not said.approved or said.answer != "person" or not _same(asked, piece):
        return None
    again = replace(said, epoch=piece.ref.epoch, kept=True).event(
        actor=answered.actor, causation=answered.id, key=keys.approval(piece.key, "answered", piece.ref.epoch)
    )
    ended = piece.succeeded(Answer(output=said.output, produced_by=f"person:{said.by}"))
    stored = await end(services, piece.ref, [again, ended], expected=version)
    return Outcome(status="succeeded", output=StepSucceeded.of(stored[1]).output)


async def _last_answered(services: Services, piece: Piece) -> tuple[Event, Event] | None:
    epochs = range(piece.ref.epoch - 1, -1, -1)
    pairs = [(keys.approval(piece.key, "requested", it), keys.approval(piece.key, "answered", it)) for it in epochs]
    found = await services.log.aunder_keys(piece.ref.run, list(chain(*pairs)))
    for pair in pairs:
        asked, answered = map(found.get, pair)
        if asked is not None and answered is not None:
            return asked, answered
    return None


def _same(asked: Event, piece: Piece) -> bool:
    said = ApprovalRequested.of(asked)
    return replace(said, **wording(piece)) == said
