"""An approval that still counts after a restart: `on_restart: keep`."""

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
    """Put the question and return the request; return the outcome instead when an earlier approval is kept.

    Raises:
        PermanentError: nobody is left who may answer; the step fails.
    """
    return await keep_answer(services, work_item) or await request(services, work_item)


async def keep_answer(services: Services, work_item: WorkItem) -> Outcome | None:
    """Keep an approval of an earlier execution of the run, if the automation says so; None when the question is put.

    Only a person's approval is kept, and only for the same question: word for word, with the same details, to the same
    people. If the run has ended meanwhile, nothing is written and the outcome is `CLOSED`.
    """
    if human_of(work_item).on_restart != "keep" or work_item.ref.epoch == 0:
        return None
    return await undisturbed(partial(_keep, services, work_item))


async def _keep(services: Services, work_item: WorkItem) -> Outcome | None:
    # The version is read first. In the other order: the run looks open, it is closed, the version is read, and the
    # append puts an approval into a run that has ended.
    version = await services.log.aversion(work_item.ref.run)
    if await has_closed(services, work_item.ref):
        return CLOSED
    # Of several earlier executions only the last answer counts: a later rejection overrules an earlier approval.
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
    # One append: a crash between the two events would leave an answered question whose step still waits.
    stored = await end(services, work_item.ref, [again, ended], expected=version)
    return Outcome(status="succeeded", output=StepSucceeded.of(stored[1]).output)


async def _last_answered(services: Services, work_item: WorkItem) -> tuple[Event, Event] | None:
    epochs = range(work_item.ref.epoch - 1, -1, -1)
    pairs = [
        (keys.approval(work_item.key, "requested", epoch), keys.approval(work_item.key, "answered", epoch))
        for epoch in epochs
    ]
    events = await services.log.aunder_keys(work_item.ref.run, list(chain(*pairs)))
    for pair in pairs:
        asked, answered = map(events.get, pair)
        if asked is not None and answered is not None:
            return asked, answered
    return None


def _same(asked: Event, work_item: WorkItem) -> bool:
    said = ApprovalRequested.of(asked)
    return replace(said, **wording(work_item)) == said
