"""Whether work of a run may still begin: asked before every step, item, attempt and fallback, in every process."""

from __future__ import annotations

from muster.errors import Final
from muster.events.lifecycle import RunLifecycle
from muster.events.sealing import ensure_still_known
from muster.events.state import CANCELLED, UNWINDING
from muster.execution.flow import Skip
from muster.execution.references import LeftAsItWas, WorkRef
from muster.execution.services import Services


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
        LeftAsItWas: the execution has ended, and nothing is written about its work any more.
        ForgottenMeanwhile: what is in memory is not to be gone on with.
    """
    await ensure_still_known(services.log.aseals)
    life = await services.lives.submit(ref.run, None)
    if life.has_ended(ref.epoch):
        raise LeftAsItWas(f"{ref.run} has ended: step {ref.step} does not begin any more.")
    return _why(life, ref)


async def ensure_may_begin(services: Services, ref: WorkRef) -> None:
    """Before an attempt begins.

    Raises:
        Stopped: it may not.
        LeftAsItWas: the execution has ended.
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
