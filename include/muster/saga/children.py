"""Undoes the runs that a step has asked for, when its own run is undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from muster.errors import PermanentError
from muster.events import keys
from muster.events.lifecycle import ORDERS, RunLifecycle
from muster.events.model import EventType
from muster.events.payloads.runs import RunUndoRequested
from muster.execution.run_executions import begin_epoch
from muster.execution.services import Services
from muster.execution.view import NeverOpened, RunView, load_all
from muster.execution.work_item import WorkItem
from muster.runs.children import withdraw
from muster.runs.parents import is_child
from muster.saga.scope import irreversible_steps_begun, pending_compensations, undone_by_hand

Unwind = Callable[[Services, str, int], Awaitable[None]]
"""Undoes one run, in an epoch."""

LONGEST_UNDOING = 900.0
"""Seconds that a run which is still open may take to stop and undo itself, where its step has no timeout."""
FIRST_LOOK, LONGEST_WAIT = 0.5, 10.0
"""Seconds between two looks at it: the first wait, and the longest."""


class ChildNotUndone(PermanentError):
    """A run that belongs to this one is not undone, so neither is this one: it is stuck, and a person acts."""

    repeats_data = False


async def undo_children(
    services: Services, work_item: WorkItem, unwind: Unwind, *, limit: float | None
) -> dict[str, str]:
    """Undo every run that a work item has asked for, the last one first. Return the status of each by its run id.

    A repeated call undoes nothing twice: each run records in its own log what is undone.

    Args:
        limit: Seconds that a run which is still open may take to stop; None for `LONGEST_UNDOING`.

    Raises:
        ChildNotUndone: one run is stuck, or does not end in time. The parent becomes stuck, and a person acts.
    """
    children = work_item.view.state.step(work_item.step.id).work(work_item.index).children
    return {
        child: await _undo(services, work_item, child, unwind, LONGEST_UNDOING if limit is None else limit)
        for child in reversed(children)
    }


@dataclass(frozen=True)
class IrreversibleWork:
    """Something that nothing can undo, of a run or of one that it has asked for."""

    step: str
    """The step, and position, of the run that is looked at."""
    index: int | None
    run: str
    """The run that did it."""
    what: str
    """The step of that run."""


async def irreversible_work_below(services: Services, view: RunView) -> AsyncIterator[IrreversibleWork]:
    """Irreversible work of a run's children, and of theirs, for which no person has resumed the run yet."""
    for step, index, work in view.state.works():
        for child in work.children if work.status != "undone" else ():
            below = await _view(services, child)
            # A stranger may have started a run under the child's name: that run's work is not this one's to judge.
            if below is None or not is_child(below.state, view.id, step, index) or below.state.undo_told:
                continue
            for final in irreversible_steps_begun(below.definition, below.state):
                yield IrreversibleWork(step, index, child, final)
            async for deeper in irreversible_work_below(services, below):
                yield replace(deeper, step=step, index=index)


async def _undo(services: Services, work_item: WorkItem, child: str, unwind: Unwind, limit: float) -> str:
    view = await _ended(services, work_item, child, limit)
    if view is None:
        return "never begun"
    if not _is_own(view, work_item):
        return "not its own"
    # A child whose own undoing has failed waits for a person, and undoing it from here would go on without that person.
    # A child that is stuck because its undoing never began is undone here: nobody has to resume it.
    stuck = view.state.stuck if view.state.status == "stuck" else None
    if (stuck is None or not stuck.has_begun) and _is_left(view):
        own = await _with_its_skills(services, view)
        await unwind(own, child, await _order(own, work_item, view))
        view = await load_all(services, child)
    if view.state.status == "stuck":
        raise ChildNotUndone(
            f"The run {child} is stuck: {view.state.reason}.",
            remedy=f"Resume that one first: muster resume {child}. Once it has ended, go on with this one.",
        )
    return view.state.status


async def _ended(services: Services, work_item: WorkItem, child: str, limit: float) -> RunView | None:
    """Cancel the run where it is still open, and return it once it has ended; None when it never begins.

    A run that a stranger has started under the child's name is returned as it is.
    """
    view = await _view(services, child)
    if view is not None and not (_is_own(view, work_item) and _is_open(view)):
        return view
    reason = f"step {work_item.step.id} of {work_item.ref.run} is undone"
    # A child that is stuck, or goes on undoing, needs no second request to cancel. If a person has ordered it to be
    # done again since, the earlier request does not count any more: without a new one it would run to its end.
    undoing = view is not None and view.state.status == "stuck" and not _is_done_again(view)
    # Cancel first, then wait: Airflow may start the run between the look above and this append. The run then finds the
    # request as its first event, and begins nothing.
    if not undoing and await withdraw(services, child, by=work_item.ref.run, reason=reason):
        return None
    wait, loop = FIRST_LOOK, asyncio.get_running_loop()
    until = loop.time() + limit
    while (view := await _view(services, child)) is None or (_is_own(view, work_item) and _is_open(view)):
        if loop.time() >= until:
            raise ChildNotUndone(
                f"The run {child} was cancelled and has not ended within {limit:g} s.",
                remedy=f"Stop what it waits for: muster cancel {child}. Once it has ended, go on with this one.",
            )
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, LONGEST_WAIT)
    return view


async def _order(services: Services, work_item: WorkItem, view: RunView) -> int:
    """Write into the child's log that it is to be undone, and why. Return the epoch in which it is undone."""
    # The key names the parent's work item and execution. A parent that dies after this append and undoes again goes on
    # in the same epoch of the child; its resumed execution, with another number, begins a new one.
    by = f"{work_item.ref.run}/{work_item.key}@{work_item.ref.epoch}"
    by_hand = work_item.view.state.undone_by_hand
    begun = await begin_epoch(services, view.id, keys.begun_to_undo(by), None, undone_with=work_item.ref.run)
    said = RunUndoRequested(
        reason=f"undone with step {work_item.step.id} of {work_item.ref.run}",
        parent={"run": work_item.ref.run, "step": work_item.step.id, "index": work_item.index},
        epoch=begun.number,
        told=work_item.view.state.undo_told,
        by_hand=by_hand,
    )
    marks = undone_by_hand(view.state, by_hand.get(view.id, ()), begun.number)
    await services.log.aappend(view.id, [said.event(key=keys.undo(by)), *marks])
    return begun.number


async def _view(services: Services, run: str) -> RunView | None:
    try:
        return await load_all(services, run)
    except NeverOpened:
        return None


def _is_own(view: RunView, work_item: WorkItem) -> bool:
    return is_child(view.state, work_item.ref.run, work_item.step.id, work_item.index)


def _is_open(view: RunView) -> bool:
    """True while Airflow performs the run, or is about to again."""
    return RunLifecycle.of(view.events).is_performed


def _is_done_again(view: RunView) -> bool:
    """True when a person's last word on the run is to do it again."""
    orders = [event for event in view.events if event.type in ORDERS]
    return bool(orders) and orders[-1].type != EventType.RUN_RESUMED


def _is_left(view: RunView) -> bool:
    definition, state = view.definition, view.state
    return bool(
        pending_compensations(definition, state)
        or (irreversible_steps_begun(definition, state) and not state.undo_told)
    )


async def _with_its_skills(services: Services, view: RunView) -> Services:
    """The services with the site's skills of the run's own version."""
    # In a thread: a version that this machine lacks is fetched from the database, which would block the event loop.
    site = await asyncio.to_thread(services.pinned, view.state.bundle_version)
    return services if site is None else replace(services, site=site)
