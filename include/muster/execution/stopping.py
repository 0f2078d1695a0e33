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
"""By list: the version of the log up to which no item has failed, and the version of the first failure or None."""


class Stopped(Final):
    """The run begins nothing any more: work that has ended counts, and the work item that asked is skipped."""

    def __init__(self, skip: Skip) -> None:
        super().__init__(f"The run begins nothing any more: {skip.reason}.")
        self.skip = skip


async def why_stopped(services: Services, ref: WorkRef) -> Skip | None:
    """Why work of this execution may not go on, because the run is cancelled or being undone; None when it may.

    The log is read after this call began. Calls about the same run that come together share one read.
    """
    return _why(await services.lives.submit(ref.run, None), ref)


async def why_not_begun(services: Services, ref: WorkRef) -> Skip | None:
    """Why work of this execution is skipped; None when it may begin.

    Raises:
        StepNotInScope: the execution has ended, and nothing is written about its work any more.
        ForgottenMeanwhile: the person whom the run is about was forgotten; perform the work again with what is left.
    """
    # Work that read personal data before `muster forget` must not go on from memory, or it would write the data again.
    await ensure_still_known(services.log.aseals)
    life = await services.lives.submit(ref.run, None)
    if life.has_ended(ref.epoch):
        raise StepNotInScope(f"{ref.run} has ended: step {ref.step} does not begin any more.")
    return _why(life, ref)


async def why_held_back(services: Services, work_item: WorkItem, *, waits: bool = False) -> Skip | None:
    """Why an item does not begin although its step does: another item has failed (`failures`); None when it may begin.

    `waits` says that this execution has written `step.started` and made no attempt yet, because it waited for its lock.
    """
    if work_item.index is None or work_item.step.failures == "continue":
        return None
    if (failed := await _first_failure(services, work_item)) is None:
        return None
    # The order of the log decides, not the clock: an item whose first start comes before the failure is under way, also
    # when its process has died since, and a process that takes over decides as the dead one would have.
    starts = [keys.started(work_item.key, None), keys.started(work_item.key, work_item.ref.epoch)]
    begun = (await services.log.aunder_keys(work_item.ref.run, starts)).values()
    # An item that has only waited for its lock did nothing yet: its own start does not put it under way, but a start by
    # an earlier process does.
    before = work_item.execution if waits else failed
    is_under_way = any(event.epoch == work_item.ref.epoch and event.version < before for event in begun)
    return None if is_under_way else Skip(ITEM_FAILED)


async def _first_failure(services: Services, work_item: WorkItem) -> int | None:
    """The version of the first failure of an item of its list in this execution; None while there is none."""
    ref, database = work_item.ref, services.database
    # `sessions` changes with each new connection. A standby that took over may lack the last events, so a failure seen
    # on the old server may not exist in its log.
    known = (database.dsn, database.sessions, ref.run, ref.step, ref.epoch)
    after, failed = _looked.get(known, (0, None))
    if failed is None:
        events = await services.failures.submit(ref.run, (ref.step, after))
        items = (event.version for event in events if event.epoch == ref.epoch and event.index is not None)
        # The read covers at least everything before this item's own start, so the next item reads only what is newer.
        # Otherwise each item of a long list would read the whole stream.
        _looked[known] = max(after, work_item.execution), (failed := next(items, None))
    return failed


async def ensure_may_begin(services: Services, ref: WorkRef) -> None:
    """Check that the run still begins work.

    Raises:
        Stopped: the run is cancelled or being undone; skip the work.
        StepNotInScope: the execution has ended; write nothing about the work.
        ForgottenMeanwhile: the person whom the run is about was forgotten; perform the work again with what is left.
    """
    if (skip := await why_not_begun(services, ref)) is not None:
        raise Stopped(skip)


async def has_closed(services: Services, ref: WorkRef) -> bool:
    """True when this execution of the run has ended: nothing more is written about its work."""
    life = await services.lives.submit(ref.run, None)
    return life.has_ended(ref.epoch)


def _why(life: RunLifecycle, ref: WorkRef) -> Skip | None:
    if life.is_cancelled:
        return Skip(CANCELLED)
    return Skip(UNWINDING) if life.unwound_in == ref.epoch else None
