"""A person's word that undoing a stuck run can go on."""

from __future__ import annotations

from uuid import uuid4

from muster.errors import PermanentError
from muster.events.intact import demand_intact
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.state import RunState, fold
from muster.execution.references import work_key


class AlreadyResumed(PermanentError):
    """Somebody else was first."""


def resume(log: EventLog, run: str, *, by: str, note: str | None = None, by_hand: bool = False) -> RunState:
    """Write that the run goes on undoing; `by_hand` says that a person has done what failed. The state before.

    Raises:
        PermanentError: the run is not there, or it is not stuck.
        TamperedLog: its events are not as they were written.
        AlreadyResumed: of two that resume at once, this one came second; nothing was written for it.
    """
    demand_intact(log, run)
    state = fold(log.read(run))
    if state.status == "unknown":
        raise PermanentError(f"There is no run {run}.", remedy="`muster runs` lists them.")
    if state.status != "stuck" or state.stuck is None:
        raise PermanentError(
            f"{run} is not stuck: it is {state.status}.", remedy="`muster runs --status stuck` lists those that are."
        )
    stuck, token = state.stuck, uuid4().hex
    resumed = NewEvent(
        type=EventType.RUN_RESUMED,
        data={"note": note, "by_hand": by_hand, "epoch": stuck.epoch, "token": token},
        actor=by,
        key=f"resumed@{stuck.epoch}",
    )
    stored = log.append(run, [resumed])[0]
    if stored.data["token"] != token:
        raise AlreadyResumed(f"{stored.actor} has resumed {run} already, at {stored.at:%Y-%m-%d %H:%M:%S} UTC.")
    if by_hand:
        _done_by_hand(log, run, state, by)
    return state


def _done_by_hand(log: EventLog, run: str, state: RunState, by: str) -> None:
    stuck = state.stuck
    assert stuck is not None
    work = state.step(stuck.step).work(stuck.index)
    if work.undoing is None:
        # What nothing can undo has no compensation; that a person acted is all there is to say.
        return
    done = NewEvent(
        type=EventType.COMPENSATION_SUCCEEDED,
        data={
            "step": stuck.step,
            "index": stuck.index,
            "work_epoch": work.epoch,
            "epoch": stuck.epoch,
            "output": None,
            "by_hand": True,
        },
        actor=by,
        key=f"{work_key(stuck.step, stuck.index)}/undone@{work.epoch}",
    )
    log.append(run, [done])
