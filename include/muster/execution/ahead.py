"""Running ahead of Airflow: the step after one in the `async` lane begins as soon as the log lets it.

Airflow needs three seconds from the end of one task in the triggerer to the beginning of the next. So a process that
has performed a step looks for steps that may follow, and performs them at once through the same `perform`. When
Airflow's task comes to such a step, it finds the work done, or waits for it while it is under way. Running ahead only
saves time: if the process dies ahead of Airflow, the task performs the step.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import replace
from functools import partial

from muster.bounded_cache import BoundedCache
from muster.events.sealing import about_whom
from muster.execution.flow import NOT_TAKEN, REJECTED, decide
from muster.execution.outcome import Outcome
from muster.execution.references import WorkRef
from muster.execution.rerun_scope import preserved_steps_of
from muster.execution.services import Services
from muster.execution.view import RunView, definition_of, load
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep

log = logging.getLogger(__name__)

LEAD = 10.0
"""Seconds after Airflow last came to a task of the run in which further steps may begin ahead. Without this limit a run
that a person has paused or marked as failed in Airflow would be performed to its end."""

WATCH = 30.0
"""Seconds between looks whether Airflow still waits for a step that is at work ahead of it."""
TO_COME = frozenset({None, "scheduled", "queued"})
"""Airflow's states of a task that it has not come to. A person may have marked any other task long before its turn."""
STOPPED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""Airflow's states of a task that it waits for no more."""

TaskStates = Callable[[str, Collection[str]], Awaitable[Mapping[str, str | None]]]
"""Airflow's states of the tasks of these steps of a run; without those that the run does not have."""
_Work = tuple[str, str, str, int]
"""Database, run, step and execution of the run."""


async def following(services: Services, ref: WorkRef) -> list[WorkRef]:
    """The steps directly after `ref.step` that may begin now: those that Airflow would begin, and no others."""
    # Not after an item of a mapped fan-out: each of n items would look through all the others.
    if ref.slot is not None:
        return []
    definition = await definition_of(services, ref.run, ref.epoch)
    steps = [step for step in definition.steps if ref.step in step.after and goes_ahead(step)]
    work = partial(_following, services, ref, definition, steps)
    return await about_whom(services.log.aseals, ref.run, work) if steps else []


async def _following(
    services: Services, ref: WorkRef, definition: Definition, steps: list[ResolvedStep]
) -> list[WorkRef]:
    life = await services.lives.submit(ref.run, None)
    if life.begun.epoch != ref.epoch or not life.performs_steps or life.is_cancelled or life.unwound_in == ref.epoch:
        return []
    preserved_steps = preserved_steps_of(definition, life.begun)
    refs = []
    # None: a person cleared tasks in Airflow by hand, and only Airflow knows which. Begun here, a step that was not
    # cleared would be done again.
    for step in steps if preserved_steps is not None else ():
        then = replace(ref, step=step.id, attempt=1, is_preserved=False, ahead=True)
        if step.id not in (preserved_steps or ()) and _may_begin((await load(services, then))[0], step, ref.epoch):
            refs.append(then)
    return refs


def goes_ahead(step: ResolvedStep) -> bool:
    """True for a step that one coroutine performs: in the `async` lane, one task in Airflow, and in no pool."""
    # Only Airflow counts the slots of a pool, so a step that began ahead could exceed it.
    return step.lane == "async" and step.done_by == "muster" and not step.is_mapped and step.pool is None


def _may_begin(view: RunView, step: ResolvedStep, epoch: int) -> bool:
    """True when every step before this one has ended, and this one has neither begun nor ended in this execution."""
    definition, state = view.definition, view.state
    result = state.step(step.id)
    known = any(work.attempt and work.epoch == epoch for work in result.works)
    if known or result.whole.outcome == epoch:
        return False
    # `decide` treats a step without an outcome like a failed one, and Airflow begins no task behind either. Behind a
    # branch not taken or a rejection it does begin the task, which then only writes that the step is skipped.
    return (skip := decide(definition, step, state)) is None or skip.reason in (NOT_TAKEN, REJECTED)


class RunningAhead:
    """The work that one process does ahead of Airflow, all on one event loop.

    Args:
        perform: Performs the work of a step.
        task_states: Asks Airflow, because the log does not know what a person has marked there.
    """

    def __init__(self, perform: Callable[[Services, WorkRef], Awaitable[Outcome]], task_states: TaskStates) -> None:
        self._perform, self._task_states = perform, task_states
        self._tasks: dict[_Work, asyncio.Task[None]] = {}
        self._looks: set[asyncio.Task[None]] = set()
        self._awaited = Counter[_Work]()
        self._done = BoundedCache[_Work, bool](1_000)
        self._came = BoundedCache[tuple[str, str], float](1_000)

    async def join(self, services: Services, ref: WorkRef) -> bool:
        """Wait for a step that runs ahead in this process; called when Airflow comes to the step's task.

        Returns True when the step was begun ahead here. If the caller is cancelled, because a person marked the task in
        Airflow, the work is cancelled too.
        """
        self._came_to(services, ref)
        work = _work(services, ref)
        if (task := self._tasks.get(work)) is not None:
            self._awaited[work] += 1
            try:
                # `wait`, not `await task`: that would raise the work's own cancellation here, and cancel every other
                # caller that waits for the same work.
                await asyncio.wait([task])
            except asyncio.CancelledError:
                task.cancel()
                raise
            finally:
                self._awaited -= Counter({work: 1})
            self._came_to(services, ref)
        return task is not None or work in self._done

    def go_on(self, services: Services, ref: WorkRef, outcome: Outcome) -> None:
        """A step has ended: begin what follows it, beside the caller."""
        if outcome.status != "failed":
            self._beside(self._quietly(self._follow(services, ref), ref))

    def _beside(self, work: Coroutine[object, object, None]) -> None:
        # The event loop keeps only a weak reference: without this set the task could be collected half done.
        self._looks.add(look := asyncio.create_task(work))
        look.add_done_callback(self._looks.discard)

    def _came_to(self, services: Services, ref: WorkRef) -> None:
        place = services.database.dsn, ref.run
        # Remove and insert: the cache drops the oldest insertion, and an update in place would leave a run that is busy
        # among the oldest.
        self._came.pop(place, None)
        self._came[place] = time.monotonic()

    async def _follow(self, services: Services, ref: WorkRef) -> None:
        since = self._came.get((services.database.dsn, ref.run))
        if since is None or time.monotonic() - since > LEAD:
            return
        refs = await following(services, ref)
        states = await self._task_states(ref.run, [then.step for then in refs]) if refs else {}
        for then in refs:
            if then.step not in states or states[then.step] not in TO_COME:
                continue
            work = _work(services, then)
            # Two steps that end at the same moment both find the step that follows them. No `await` lies between the
            # look and the insertion, so only the first of them begins it.
            if work not in self._tasks:
                task = asyncio.create_task(self._quietly(self._performed(services, then), then))
                self._tasks[work] = task
                task.add_done_callback(partial(self._ended, work))
                self._beside(self._watch(services, then, task))

    async def _performed(self, services: Services, ref: WorkRef) -> None:
        outcome = await self._perform(services, ref)
        self._done[_work(services, ref)] = True
        self.go_on(services, ref, outcome)

    async def _watch(self, services: Services, ref: WorkRef, task: asyncio.Task[None]) -> None:
        """Cancel a step at work ahead once Airflow waits for it no more, as Airflow does with its own tasks."""
        while not (await asyncio.wait([task], timeout=WATCH))[0]:
            # Whoever waits in `join` hears from Airflow itself, and sooner.
            if not self._awaited[_work(services, ref)] and not await self._is_wanted(services, ref):
                task.cancel()

    async def _is_wanted(self, services: Services, ref: WorkRef) -> bool:
        try:
            states = await self._task_states(ref.run, [ref.step])
            life = await services.lives.submit(ref.run, None)
        except Exception as error:
            log.info("nobody could say whether %s of %s is waited for: %s", ref.step, ref.run, type(error).__name__)
            return True
        # Airflow names every task that it has, also one without a state: a missing one was removed with its run.
        if ref.step not in states or states[ref.step] in STOPPED:
            return False
        # A later execution does the step again, and waits until this one is at rest.
        return life.begun.epoch == ref.epoch

    def _ended(self, work: _Work, task: asyncio.Task[None]) -> None:
        del self._tasks[work]

    async def _quietly(self, work: Coroutine[object, object, None], ref: WorkRef) -> None:
        """Run work ahead; an error is only logged, because Airflow's task performs the step and reports a failure."""
        try:
            await work
        except Exception as error:
            log.info("%s of %s is left to Airflow: %s", ref.step, ref.run, type(error).__name__)


def _work(services: Services, ref: WorkRef) -> _Work:
    return services.database.dsn, ref.run, ref.step, ref.epoch
