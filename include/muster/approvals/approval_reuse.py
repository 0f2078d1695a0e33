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
from muster.execution.services import Services
from muster.execution.stopping import has_closed
from muster.execution.work_item import ActionResult, WorkItem


async def ask(services: Services, work_item: WorkItem) -> Request | Outcome:
    """The question as it is put to people; how it was decided, where an earlier approval stands.

    Raises:
        PermanentError: nobody is left who may answer.
    """
    return await keep_answer(services, work_item) or await request(services, work_item)


async def keep_answer(services: Services, work_item: WorkItem) -> Outcome | None:
    """Let an approval of an earlier execution of the run stand, where the automation says so.

    Only a person's approval stands, and only for the same question: word for word, with the same details, of the
    same people. None means that the question is to be asked. When the run has ended meanwhile, nothing is
    written of it.
    """
    if human_of(work_item).on_restart != "keep" or work_item.ref.epoch == 0:
        return None
    return await undisturbed(partial(_keep, services, work_item))


async def _keep(services: Services, work_item: WorkItem) -> Outcome | None:
    # Before anything is read: if the run is closed or cancelled after this version, the append is refused.
    version = await services.log.aversion(work_item.ref.run)
    if await has_closed(services, work_item.ref):
        return CLOSED
    earlier = await _last_answered(services, work_item)
    if earlier is None:
        return None
    asked, answered = earlier
    said = ApprovalAnswered.of(answered)
    if not said.approved or said.answer != "person" or not _same(asked, work_item):
        return None
    again = replace(said, epoch=work_item.ref.epoch, kept=True).event(
        actor=answered.actor, causation=answered.id, key=keys.approval(work_item.key, "answered", work_item.ref.epoch)
    )
    ended = work_item.succeeded(ActionResult(output=said.output, produced_by=f"person:{said.by}"))
    stored = await end(services, work_item.ref, [again, ended], expected=version)
    return Outcome(status="succeeded", output=StepSucceeded.of(stored[1]).output)


async def _last_answered(services: Services, work_item: WorkItem) -> tuple[Event, Event] | None:
    epochs = range(work_item.ref.epoch - 1, -1, -1)
    pairs = [
        (keys.approval(work_item.key, "requested", it), keys.approval(work_item.key, "answered", it)) for it in epochs
    ]
    found = await services.log.aunder_keys(work_item.ref.run, list(chain(*pairs)))
    for pair in pairs:
        asked, answered = map(found.get, pair)
        if asked is not None and answered is not None:
            return asked, answered
    return None


def _same(asked: Event, work_item: WorkItem) -> bool:
    said = ApprovalRequested.of(asked)
    return replace(said, **wording(work_item)) == said
