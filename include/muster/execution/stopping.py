"""Whether work of a run may still begin: asked before every step, item, attempt and fallback, in every process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from muster.errors import Final
from muster.events.model import EventType
from muster.events.state import CANCELLED, UNWINDING, RunState, fold
from muster.execution.flow import Skip
from muster.execution.references import LeftAsItWas, WorkRef

if TYPE_CHECKING:
    from muster.execution.services import Services

TELLING = (
    EventType.RUN_CANCEL_REQUESTED,
    EventType.RUN_RESTARTED,
    EventType.DEAD_LETTER_REDRIVEN,
    EventType.SAGA_UNWINDING,
    EventType.RUN_BEGUN,
    EventType.RUN_CLOSED,
)
"""The events that say whether work may begin; they belong to no step."""


class Stopped(Final):
    """The run begins nothing any more: what has begun counts, and the rest of the work is skipped."""

    def __init__(self, skip: Skip) -> None:
        super().__init__(f"The run begins nothing any more: {skip.reason}.")
        self.skip = skip


async def why_stopped(services: Services, ref: WorkRef) -> Skip | None:
    """Why work of this execution may not go on; None when it may.

    It is read from the log after the question was put. Those who ask of one run at the same time share an answer.
    """
    return _why(await services.standing.submit(ref.run, None), ref)


async def why_not_begun(services: Services, ref: WorkRef) -> Skip | None:
    """Why work of this execution is skipped; None when it may begin.

    Raises:
        LeftAsItWas: the execution has ended, and nothing is written about its work any more.
    """
    state = await services.standing.submit(ref.run, None)
    if _has_ended(state, ref):
        raise LeftAsItWas(f"{ref.run} has ended: step {ref.step} does not begin any more.")
    return _why(state, ref)


async def ensure_may_begin(services: Services, ref: WorkRef) -> None:
    """Before an attempt begins.

    Raises:
        Stopped: it may not.
        LeftAsItWas: the execution has ended.
    """
    if (skip := await why_not_begun(services, ref)) is not None:
        raise Stopped(skip)


async def has_closed(services: Services, ref: WorkRef) -> bool:
    """Whether this execution of the run has ended: nothing is to be written about its work any more."""
    return _has_ended(await services.standing.submit(ref.run, None), ref)


async def standing(services: Services, run: str, asked: Sequence[None]) -> list[RunState]:
    """What the log says of a run, as far as it decides whether work may begin, for all who have asked."""
    state = fold([event async for event in services.log.aread(run, steps=(), types=TELLING)])
    return [state for _ in asked]


def _has_ended(state: RunState, ref: WorkRef) -> bool:
    # Not by the ends that are in the log: one that was ordered, given up before it began, and ordered again has the
    # number of the one that was given up.
    return state.epoch > ref.epoch or (state.ended is not None and state.ended >= ref.epoch)


def _why(state: RunState, ref: WorkRef) -> Skip | None:
    if _is_cancelled(state):
        return Skip(CANCELLED)
    return Skip(UNWINDING) if _is_unwinding(state, ref.epoch) else None


def _is_cancelled(state: RunState) -> bool:
    return state.cancelled_by is not None


def _is_unwinding(state: RunState, epoch: int) -> bool:
    return state.unwinding is not None and state.unwinding.epoch == epoch
