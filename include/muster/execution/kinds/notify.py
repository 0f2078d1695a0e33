"""`notify`: sends notices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from muster.events.sealing import GONE
from muster.execution.action import Action
from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.channels import CHANNELS
from muster.language.expressions import evaluate
from muster.language.kinds.notify import ResolvedNotify
from muster.language.resolved import ResolvedTarget, places_in
from muster.notifications.model import Notice


async def _act(services: Services, work_item: WorkItem, step: ResolvedNotify) -> ActionResult:
    deliveries = []
    for number, fields in enumerate(_notices(work_item, step.notify)):
        notice = Notice(run=work_item.view.id, key=f"{work_item.effect_key}/notice/{number}", **fields)
        if work_item.ref.epoch:
            notice = await _as_before(services, work_item, notice)
        delivery = await services.notices.send(notice)
        deliveries.append(delivery.model_dump(mode="json"))
    return ActionResult(output=deliveries, produced_by="notice")


async def _as_before(services: Services, work_item: WorkItem, notice: Notice) -> Notice:
    """The notice under the key that an earlier execution of the run gave to the same notice, or under a free key."""
    # Keys are given by position, and the list may have changed. By position alone a person would be told twice when a
    # notice has moved, and another would be missed whose position was taken. Forgotten text counts as the same notice.
    outbox, (_, tilde, undone) = services.notices.outbox, work_item.effect_key.rpartition("/")[2].partition("~")
    of_step = rf"{re.escape(f'{work_item.view.id}/{work_item.step.id}')}(\[\d+\])?{tilde}{undone}/notice/\d+(@\d+)?"
    same = [key for key in await outbox.alike(notice) if re.fullmatch(of_step, key)]
    if same:
        return notice.model_copy(update={"key": notice.key if notice.key in same else same[0]})
    taken = await outbox.find(notice.key)
    if taken is None or taken.may_be_replaced or taken.text == GONE:
        return notice
    return notice.model_copy(update={"key": f"{notice.key}@{work_item.ref.epoch}"})


def _notices(work_item: WorkItem, targets: Sequence[ResolvedTarget]) -> Iterator[dict[str, object]]:
    """One notice for each place: a target may name several addresses."""
    for target in targets:
        values = evaluate(target.model_dump(), work_item.variables, where=f"step {work_item.step.id}, notify")
        for channel, place in places_in(values):
            subject = (values["subject"] or work_item.view.definition.title) if CHANNELS[channel].has_subject else ""
            yield {"channel": channel, "target": place, "subject": subject, "text": values["text"]}


ACTION = Action(_act)
