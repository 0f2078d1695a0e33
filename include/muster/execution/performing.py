"""Performs what one task instance was started for: a step, an item, or a pack of items."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from muster.errors import PermanentError
from muster.events.model import Event, EventType
from muster.events.payloads.base import payload_of
from muster.events.payloads.work import StepFailed, StepSetAside, StepSkipped, StepSucceeded
from muster.events.sealing import about_whom
from muster.events.tampering import TamperedLog
from muster.events.work import WorkState
from muster.execution import flow
from muster.execution.actions import act, fall_back, uses_threads
from muster.execution.attempts import finish
from muster.execution.beginning import begin_work_item
from muster.execution.concurrency import at_once
from muster.execution.fanout import FanOut, complete, ensure_of_its_list, load_fan_out
from muster.execution.laying_out import ENDINGS, holds, last_endings
from muster.execution.outcome import Outcome, not_in_scope
from muster.execution.overtaken import Overtaken, ending_ahead, ending_by_another, ensure_not_overtaken
from muster.execution.references import HalfUndone, StepNotInScope, WorkRef
from muster.execution.services import Services
from muster.execution.stopping import why_held_back, why_not_begun
from muster.execution.teams import pull
from muster.execution.variables import Variables
from muster.execution.view import RunView, load
from muster.execution.work_item import WorkItem, failed_as_a_whole, given_up
from muster.language.resolved_step import ResolvedStep

T = TypeVar("T")


async def perform(services: Services, ref: WorkRef) -> Outcome:
    """Perform the work of one task instance; return how it ended, which is in the log by then.

    Call it again after a crash: what has ended is not repeated, and its stored outcome is returned.

    Raises:
        TransientError: the work has no ending yet; Airflow's next try of the task performs it.
        TamperedLog: the run's log was altered; nothing is written into it.
    """
    return await _or_outcome(services, ref, _perform)


async def begin(services: Services, ref: WorkRef) -> WorkItem | Outcome:
    """Write `step.started` for a work item whose work is done elsewhere (by a person, an operator, another run).

    In a fan-out the work item is the one of `ref.slot`. Returns an `Outcome` when there is nothing to do: the work item
    has ended already, or it does not go ahead.

    Raises:
        TransientError: the work has not begun; Airflow's next try begins it.
        TamperedLog: the run's log was altered; nothing is written into it.
    """
    return await _or_outcome(services, ref, _begin)


async def load_begun(services: Services, ref: WorkRef) -> WorkItem | Outcome:
    """Load a work item that another process has begun; its `Outcome` when it has ended. Writes nothing."""
    work_item, ended = await _find(services, ref)
    return work_item if ended is None else outcome_of(ended)


async def _or_outcome(
    services: Services, ref: WorkRef, work: Callable[[Services, WorkRef], Awaitable[T]]
) -> T | Outcome:
    """What `work` returns, or the outcome of work that its execution leaves as it was or that cannot begin."""
    try:
        return await about_whom(services.log.aseals, ref.run, partial(work, services, ref))
    except StepNotInScope as error:
        return not_in_scope(error.message)
    except TamperedLog:
        raise  # It is no failure of the work, and nothing is written into a run that is not as it was written.
    except PermanentError as error:
        return await _failed_before_it_began(services, ref, error)


async def _failed_before_it_began(services: Services, ref: WorkRef, error: PermanentError) -> Outcome:
    """A `when` or `each` that cannot be evaluated fails the step as a whole."""
    # A step that began ahead could evaluate it: the person whom it asks about was forgotten since.
    work = partial(ending_ahead, services, ref, ref.step)
    if ref.slot is None and (ended := await about_whom(services.log.aseals, ref.run, work)) is not None:
        return outcome_of(ended)
    return outcome_of((await services.log.aappend(ref.run, [failed_as_a_whole(ref, error)]))[0])


async def _perform(services: Services, ref: WorkRef) -> Outcome:
    view, step = await load(services, ref) if ref.slot is None else (None, None)
    if view is not None and step is not None and step.each is None:
        return await _perform_single(services, view, step, ref)
    fan_out = await load_fan_out(services, ref)
    await ensure_of_its_list(services, fan_out, ref)
    return await _perform_items(services, fan_out, ref)


async def _begin(services: Services, ref: WorkRef) -> WorkItem | Outcome:
    work_item, ended = await _find(services, ref)
    if ref.slot is None:
        return await _begin_single(services, work_item, ended)
    if ended is None:
        await ensure_of_its_list(services, await load_fan_out(services, ref), ref)
    begun = await _start(services, work_item) if ended is None else ended
    if isinstance(begun, WorkItem):
        return begun
    # Also for an item that had ended before: the process that ended the last item may have died before it wrote
    # `step.completed`, and no other task would write it.
    await complete(services, await load_fan_out(services, ref), ref)
    return outcome_of(begun)


async def _find(services: Services, ref: WorkRef) -> tuple[WorkItem, Event | None]:
    """The one work item of a task instance, and the event that ended it; None when it has not ended."""
    if ref.slot is None:
        return _single(services, *await load(services, ref), ref)
    fan_out = await load_fan_out(services, ref)
    work_item = _work_item(fan_out, ref, fan_out.slot(ref.slot)[0])
    return work_item, (await _endings(services, fan_out, [work_item])).get(work_item.key)


def _single(services: Services, view: RunView, step: ResolvedStep, ref: WorkRef) -> tuple[WorkItem, Event | None]:
    variables = Variables(partial(view.variables, step, services))
    work_item = WorkItem(view=view, step=step, ref=ref, index=None, variables=variables)
    if ref.is_preserved:
        return work_item, last_endings(view, step).get(None)
    return work_item, next((event for event in view.events if event.key == work_item.ended_key), None)


async def _begin_single(services: Services, work_item: WorkItem, ended: Event | None) -> WorkItem | Outcome:
    view, step, ref = work_item.view, work_item.step, work_item.ref
    if ended is None:
        ref.ensure_in_scope()
        skip = flow.decide(view.definition, step, view.state)
        if skip is None and not holds(step, work_item.variables):
            skip = flow.Skip(flow.WHEN)
        if skip is None:
            begun = await _start(services, work_item)
            return begun if isinstance(begun, WorkItem) else outcome_of(begun)
        ended = await _skip(services, work_item, skip)
    return outcome_of(ended)


async def _perform_single(services: Services, view: RunView, step: ResolvedStep, ref: WorkRef) -> Outcome:
    begun = await _begin_single(services, *_single(services, view, step, ref))
    return begun if isinstance(begun, Outcome) else outcome_of(await finish(services, begun, act, fall_back))


async def _perform_items(services: Services, fan_out: FanOut, ref: WorkRef) -> Outcome:
    if fan_out.step.pulls and fan_out.indices:
        await _work_out(fan_out)
        pulled = await pull(services, fan_out, ref, _perform_item, _skip)
        await complete(services, pulled.fan_out, ref)
        return _together(pulled.endings, single=False) if pulled.endings else _NOTHING_LEFT
    work_items = [_work_item(fan_out, ref, index) for index in fan_out.slot(ref.slot)]
    if not work_items:
        return _NOTHING_LEFT
    # Read before anything begins: a process that died in the middle of the pack may have ended some of its items, and
    # only the others are begun.
    endings = await _endings(services, fan_out, work_items)
    left = [work_item for work_item in work_items if work_item.key not in endings]
    if left:
        # Before `step.started` of any item. The list is worked out once here, in a thread; else the first item would do
        # it on the event loop, and all other work of the process would wait for it.
        await _work_out(fan_out)
    jobs = [partial(_perform_item, services, work_item) for work_item in left]
    done = await at_once(jobs, threads=uses_threads(fan_out.step, services)) if left else []
    # After the endings are written: of two processes that end the last two items at once, at least one sees both.
    await complete(services, fan_out, ref)
    return _together([*endings.values(), *done], single=ref.slot is not None and len(work_items) == 1)


_NOTHING_LEFT = Outcome(status="skipped", reason="there is nothing to do for it", structural="all")


async def _work_out(fan_out: FanOut) -> None:
    """Evaluate the fan-out's list in a thread. If that fails, each item fails with the same error when it begins."""
    if "items" not in vars(fan_out):
        with suppress(Exception):
            await asyncio.to_thread(lambda: fan_out.items)


async def _perform_item(services: Services, work_item: WorkItem) -> Event:
    """Begin one item and finish it; return the event that ended it."""
    begun = await _start(services, work_item)
    return begun if isinstance(begun, Event) else await finish(services, begun, act, fall_back)


async def _start(services: Services, work_item: WorkItem) -> WorkItem | Event:
    """Write `step.started`; return the begun work item, or the event that ended it when it does not go ahead.

    Raises:
        StepNotInScope: this execution leaves the step as it was, or has ended; nothing of it is at work.
        HalfUndone: undoing the work item has begun and not ended; it is done again after that.
    """
    work_item.ref.ensure_in_scope()
    # Expressions are evaluated before `step.started`: if one fails, no attempt has failed, and nothing has begun that
    # would have to be undone.
    if isinstance(work_item.variables, Variables):
        try:
            work_item.variables.ensure_worked_out()
        except PermanentError:
            # An item of a pack that began ahead had its list: the person whom that is about was forgotten since.
            if (ended := await ending_ahead(services, work_item.ref, work_item.key)) is not None:
                return ended
            raise
    if (skip := await _why_skipped(services, work_item)) is None:
        if (known := _known(work_item)) is not None and known.half_undone:
            raise HalfUndone(work_item.ref.run, work_item.key)
        begun = await _started(services, work_item)
        if isinstance(begun, Event):
            return begun
        work_item = begun
        # Asked again after the write. Otherwise: the run looks open here, undoing begins and sees no start of the item,
        # `step.started` is written, and what is done now is never undone. So one of the two sees the other. The same
        # holds for an item that begins while another item of its list fails.
        try:
            skip = await _why_skipped(services, work_item)
        except StepNotInScope:
            # The run was closed between the check and the start. `step.stopped` ends the start: else the work item
            # would look at work in a closed run for good.
            await services.log.aappend(
                work_item.ref.run, [given_up(work_item.step.id, work_item.index, work_item.ref.epoch)]
            )
            raise
    return work_item if skip is None else await _skip(services, work_item, skip)


async def _skip(services: Services, work_item: WorkItem, skip: flow.Skip) -> Event:
    """Write `step.skipped` and return it; if another process does the work, return its ending.

    Raises:
        Overtaken: another process has begun it since, and gives no sign of life; perform it again.
    """
    # A step that began ahead before the run was cancelled counts. Skipped here at once, it would lose its ending, and
    # what it did would count as never done.
    if (ended := await ending_ahead(services, work_item.ref, work_item.key, work_item.execution)) is not None:
        return ended
    if work_item.execution:
        # The same holds for a process that has begun since. One that begins after this look sees why to skip, too.
        try:
            await ensure_not_overtaken(services, work_item)
        except Overtaken as error:
            return await ending_by_another(services, work_item, error)
    return (await services.log.aappend(work_item.ref.run, [work_item.skipped(skip.reason)]))[0]


async def _why_skipped(services: Services, work_item: WorkItem) -> flow.Skip | None:
    return await why_not_begun(services, work_item.ref) or await why_held_back(services, work_item)


async def _started(services: Services, work_item: WorkItem) -> WorkItem | Event:
    """Write `step.started`; return the begun work item, or its ending in a triggerer that ran ahead of Airflow."""
    known = _known(work_item)
    work_item = replace(work_item, first=known is None or not known.attempt)
    return await begin_work_item(services, work_item)


def _known(work_item: WorkItem) -> WorkState | None:
    """The work item's state when its view was read; None for an item that the log does not mention."""
    result = work_item.view.state.step(work_item.step.id)
    return result.whole if work_item.index is None else result.items.get(work_item.index)


async def _endings(services: Services, fan_out: FanOut, work_items: Sequence[WorkItem]) -> dict[str, Event]:
    """The endings of the work items that are not done again, by the key of the work item."""
    ended = await services.log.aunder_keys(fan_out.view.id, [work_item.ended_key for work_item in work_items])
    endings = {
        work_item.key: ended.get(work_item.ended_key) or fan_out.kept.get(work_item.index or 0)
        for work_item in work_items
    }
    return {key: ending for key, ending in endings.items() if ending is not None}


def _work_item(fan_out: FanOut, ref: WorkRef, index: int) -> WorkItem:
    return WorkItem(view=fan_out.view, step=fan_out.step, ref=ref, index=index, variables=fan_out.variables_of(index))


def outcome_of(ending: Event) -> Outcome:
    """The outcome that an ending event stands for."""
    match payload_of(ending):
        case StepSucceeded(output=output):
            return Outcome(status="succeeded", output=output)
        case StepSkipped(reason=reason):
            return Outcome(status="skipped", reason=reason)
        case StepSetAside(error=error):
            return Outcome(status="skipped", reason=f"set aside: {error.message}")
        case StepFailed(error=error):
            return Outcome(status="failed", reason=error.message)
    return Outcome(status="failed", reason="it was given up before it had ended")


def _together(endings: Sequence[Event], *, single: bool) -> Outcome:
    """The outcome of a pack: failed when an item failed or all were set aside, skipped when all were skipped."""
    if single:
        return outcome_of(endings[0])
    counts = {kind.value.removeprefix("step."): _count(endings, kind) for kind in sorted(ENDINGS)}
    failures = [event for event in endings if event.type in (EventType.STEP_FAILED, EventType.STEP_STOPPED)]
    if counts["skipped"] == len(endings):
        return Outcome(status="skipped", output=counts, reason=StepSkipped.of(endings[0]).reason, structural="output")
    if failures:
        said = f"{len(failures)} of {len(endings)} failed: {outcome_of(failures[0]).reason}"
        return Outcome(status="failed", output=counts, reason=said, structural="output")
    if counts["set_aside"] == len(endings):
        return Outcome(status="failed", output=counts, reason="every item was set aside", structural="all")
    return Outcome(status="succeeded", output=counts, structural="all")


def _count(endings: Iterable[Event], kind: object) -> int:
    return sum(event.type == kind for event in endings)
