"""Performs what one task instance was started for: a step, an item, or a pack of items."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

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
from muster.execution.fanout import ENDINGS, FanOut, complete, ensure_of_its_list, holds, last_endings, load_fan_out
from muster.execution.outcome import Outcome, not_in_scope
from muster.execution.overtaken import ending_ahead
from muster.execution.references import HalfUndone, StepNotInScope, WorkRef
from muster.execution.services import Services
from muster.execution.stopping import why_held_back, why_not_begun
from muster.execution.variables import Variables
from muster.execution.view import RunView, load
from muster.execution.work_item import WorkItem, failed_as_a_whole, given_up
from muster.language.resolved_step import ResolvedStep


async def perform(services: Services, ref: WorkRef) -> Outcome:
    """Perform the work of one task instance and say how it ended. Performing it again does nothing twice."""
    try:
        return await about_whom(services.log.aseals, ref.run, partial(_perform, services, ref))
    except StepNotInScope as error:
        return not_in_scope(error.message)
    except TamperedLog:
        raise  # It is no failure of the work, and nothing is written into a run that is not as it was written.
    except PermanentError as error:
        return await _failed_before_it_began(services, ref, error)


async def begin(services: Services, ref: WorkRef) -> WorkItem | Outcome:
    """Start one work item whose work is done elsewhere (a person, an Airflow operator).

    In a fan-out it is the one item of `ref.slot`. An `Outcome` means there is nothing to do: it has ended
    already, or it does not go ahead.
    """
    try:
        return await about_whom(services.log.aseals, ref.run, partial(_begin, services, ref))
    except StepNotInScope as error:
        return not_in_scope(error.message)
    except TamperedLog:
        raise  # It is no failure of the work, and nothing is written into a run that is not as it was written.
    except PermanentError as error:
        return await _failed_before_it_began(services, ref, error)


async def load_begun(services: Services, ref: WorkRef) -> WorkItem | Outcome:
    """Go on with one work item that another process has begun; an `Outcome` means that it has ended."""
    work_item, ended = await _find(services, ref)
    return work_item if ended is None else outcome_of(ended)


async def _failed_before_it_began(services: Services, ref: WorkRef, error: PermanentError) -> Outcome:
    """A `when` or `each` that cannot be evaluated fails the step as a whole."""
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
    # Also for an item that had ended before: whoever ended the last one may have died before the list was completed.
    await complete(services, await load_fan_out(services, ref), ref)
    return outcome_of(begun)


async def _find(services: Services, ref: WorkRef) -> tuple[WorkItem, Event | None]:
    """The one work item of a task instance, and how it ended."""
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
    work_items = [_work_item(fan_out, ref, index) for index in fan_out.slot(ref.slot)]
    if not work_items:
        return Outcome(status="skipped", reason="there is nothing to do for it", structural="all")
    # Read before anything begins: an item that an earlier process has ended is not begun again, whatever became of the
    # rest.
    endings = await _endings(services, fan_out, work_items)
    left = [work_item for work_item in work_items if work_item.key not in endings]
    if left:
        await _work_out(fan_out)
    jobs = [partial(_perform_item, services, work_item) for work_item in left]
    done = await at_once(jobs, threads=uses_threads(fan_out.step, services)) if left else []
    await complete(services, fan_out, ref)
    return _together([*endings.values(), *done], single=ref.slot is not None and len(work_items) == 1)


async def _work_out(fan_out: FanOut) -> None:
    """Have the list worked out before its items are begun; where that fails, each item says so as it begins."""
    if "items" not in vars(fan_out):
        with suppress(Exception):
            await asyncio.to_thread(lambda: fan_out.items)


async def _perform_item(services: Services, work_item: WorkItem) -> Event:
    """Begin one item when its turn has come, and finish it; how it ended."""
    begun = await _start(services, work_item)
    return begun if isinstance(begun, Event) else await finish(services, begun, act, fall_back)


async def _start(services: Services, work_item: WorkItem) -> WorkItem | Event:
    """Write that a work item begins; how it ended instead when the run begins nothing any more."""
    work_item.ref.ensure_in_scope()
    # Worked out before it begins: where that fails, no attempt has failed.
    if isinstance(work_item.variables, Variables):
        work_item.variables.ensure_worked_out()
    if (skip := await _why_skipped(services, work_item)) is None:
        if (known := _known(work_item)) is not None and known.half_undone:
            raise HalfUndone(work_item.ref.run, work_item.key)
        begun = await _started(services, work_item)
        if isinstance(begun, Event):
            return begun
        work_item = begun
        # Again after the writing: of two at the same moment, one who begins and one who stops the run, one sees the
        # other. Who took this for dead and has begun to undo would never undo what it did now. So it is of two items
        # of a list, one that begins and one that fails.
        try:
            skip = await _why_skipped(services, work_item)
        except StepNotInScope:
            # In a run that has ended nothing is at work.
            await services.log.aappend(
                work_item.ref.run, [given_up(work_item.step.id, work_item.index, work_item.ref.epoch)]
            )
            raise
    return work_item if skip is None else await _skip(services, work_item, skip)


async def _skip(services: Services, work_item: WorkItem, skip: flow.Skip) -> Event:
    """Write that a work item is not done. Where a triggerer is at it ahead of Airflow, it is how it ended there:
    what has begun counts, also in a run that is cancelled since.
    """
    if (ended := await ending_ahead(services, work_item)) is not None:
        return ended
    return (await services.log.aappend(work_item.ref.run, [work_item.skipped(skip.reason)]))[0]


async def _why_skipped(services: Services, work_item: WorkItem) -> flow.Skip | None:
    return await why_not_begun(services, work_item.ref) or await why_held_back(services, work_item)


async def _started(services: Services, work_item: WorkItem) -> WorkItem | Event:
    """Write that it begins; the work item with the number of this execution, and whether there has been another one; or
    how it ended in a triggerer that has begun it ahead of Airflow.
    """
    known = _known(work_item)
    work_item = replace(work_item, first=known is None or not known.attempt)
    return await begin_work_item(services, work_item)


def _known(work_item: WorkItem) -> WorkState | None:
    """What the log said of it; None of an item of which it said nothing."""
    result = work_item.view.state.step(work_item.step.id)
    return result.whole if work_item.index is None else result.items.get(work_item.index)


async def _endings(services: Services, fan_out: FanOut, work_items: Sequence[WorkItem]) -> dict[str, Event]:
    """How those of the work items ended that are not done again, by their key."""
    found = await services.log.aunder_keys(fan_out.view.id, [work_item.ended_key for work_item in work_items])
    endings = {
        work_item.key: found.get(work_item.ended_key) or fan_out.kept.get(work_item.index or 0)
        for work_item in work_items
    }
    return {key: ending for key, ending in endings.items() if ending is not None}


def _work_item(fan_out: FanOut, ref: WorkRef, index: int) -> WorkItem:
    return WorkItem(view=fan_out.view, step=fan_out.step, ref=ref, index=index, variables=fan_out.variables_of(index))


def outcome_of(ending: Event) -> Outcome:
    """What the event that ended a work item says of it."""
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
    """The end of a pack: red when an item failed for good, else green."""
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
