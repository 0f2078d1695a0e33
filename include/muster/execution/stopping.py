"""Whether work of a run may still begin: asked before every step, item, attempt and fallback, in every process."""

from __future__ import annotations

from muster.bounded_cache import BoundedCache
from muster.errors import Final
from muster.events import keys
from muster.events.lifecycle import RunLifecycle
from muster.events.sealing import ensure_still_known
from muster.events.state import CANCELLED, UNWINDING
from muster.execution.flow import ITEM_FAILED, Skip
from muster.execution.references import StepNotInScope, WorkRef
from muster.execution.services import Services
from muster.execution.work_item import WorkItem

_looked: BoundedCache[tuple[str, int, str, str, int], tuple[int, int | None]] = BoundedCache(512)
"""Of a list: up to which version of the log no item of it has failed, or the version of the first that has."""


class Stopped(Final):
    """The run begins nothing any more: what has begun counts, and the rest of the work is skipped."""

    def __init__(self, skip: Skip) -> None:
        super().__init__(f"The run begins nothing any more: {skip.reason}.")
        self.skip = skip


async def why_stopped(services: Services, ref: WorkRef) -> Skip | None:
    """Why work of this execution may not go on; None when it may.

    It is read from the log after the question was put. Those who ask of one run at the same time share an answer.
    """
    return _why(await services.lives.submit(ref.run, None), ref)


async def why_not_begun(services: Services, ref: WorkRef) -> Skip | None:
    """Why work of this execution is skipped; None when it may begin.

    Raises:
        StepNotInScope: the execution has ended, and nothing is written about its work any more.
        ForgottenMeanwhile: what is in memory is not to be gone on with.
    """
    await ensure_still_known(services.log.aseals)
    life = await services.lives.submit(ref.run, None)
    if life.has_ended(ref.epoch):
        raise StepNotInScope(f"{ref.run} has ended: step {ref.step} does not begin any more.")
    return _why(life, ref)


async def why_held_back(services: Services, work_item: WorkItem, *, waits: bool = False) -> Skip | None:
    """Why an item does not begin, of a list that goes no further once one has failed (`failures`); None when it may.

    `waits` says that this execution of it has begun and made no attempt yet, because it waited for its lock.
    """
    if work_item.index is None or work_item.step.failures == "continue":
        return None
    if (failed := await _first_failure(services, work_item)) is None:
        return None
    # What a process had begun before, and died in, is under way: it is gone on with.
    starts = [keys.started(work_item.key, None), keys.started(work_item.key, work_item.ref.epoch)]
    begun = (await services.log.aunder_keys(work_item.ref.run, starts)).values()
    before = work_item.execution if waits else failed
    is_under_way = any(event.epoch == work_item.ref.epoch and event.version < before for event in begun)
    return None if is_under_way else Skip(ITEM_FAILED)


async def _first_failure(services: Services, work_item: WorkItem) -> int | None:
    """The version of the first failure of an item of its list in this execution; None while there is none."""
    ref, database = work_item.ref, services.database
    # A server that took over may lack the last events: what was seen on another connection is not believed.
    known = (database.dsn, database.sessions, ref.run, ref.step, ref.epoch)
    after, failed = _looked.get(known, (0, None))
    if failed is None:
        events = await services.failures.submit(ref.run, (ref.step, after))
        items = (event.version for event in events if event.epoch == ref.epoch and event.index is not None)
        # What came before its own beginning was seen: else each item of a long list would look through all of it.
        _looked[known] = max(after, work_item.execution), (failed := next(items, None))
    return failed


async def ensure_may_begin(services: Services, ref: WorkRef) -> None:
    """Before an attempt begins.

    Raises:
        Stopped: it may not.
        StepNotInScope: the execution has ended.
        ForgottenMeanwhile: what is in memory is not to be gone on with.
    """
    if (skip := await why_not_begun(services, ref)) is not None:
        raise Stopped(skip)


async def has_closed(services: Services, ref: WorkRef) -> bool:
    """Whether this execution of the run has ended: nothing is to be written about its work any more."""
    life = await services.lives.submit(ref.run, None)
    return life.has_ended(ref.epoch)


def _why(life: RunLifecycle, ref: WorkRef) -> Skip | None:
    if life.is_cancelled:
        return Skip(CANCELLED)
    return Skip(UNWINDING) if life.unwound_in == ref.epoch else None
