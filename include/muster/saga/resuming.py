"""A person's word that undoing a stuck run can go on, and whether an earlier word about a run is still under way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from muster.errors import ConcurrencyError, PermanentError
from muster.events import keys
from muster.events.keys import work_key
from muster.events.lifecycle import Execution, RunLifecycle
from muster.events.log import EventLog
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.base import payload_of
from muster.events.payloads.runs import DeadLetterRedriven, RunClosed, RunRestarted, RunResumed
from muster.events.state import RunState, fold
from muster.events.undoing import Stuck
from muster.saga.closing import counts_of, left_open, revoke_left
from muster.saga.scope import undone_by_hand, work_item_undone_by_hand

FORGOTTEN = timedelta(seconds=60)
"""Age from which a second person may carry out an order that Airflow has not begun. Whoever gave it has told Airflow
long before, or died."""
_LOOK = "`muster show {}` tells how far it is."


class UnderWay(PermanentError):
    """The run goes on already, or is about to: nothing was changed."""


class AlreadyResumed(UnderWay):
    """Somebody else has resumed the run first; nothing was written."""

    def __init__(self, message: str, order: Event, *, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.order = order
        """The `run.resumed` that the first person wrote."""

    def may_be_carried_out(self, *, by_hand: bool, now: datetime | None = None) -> bool:
        """True when a second person who says the same may tell Airflow in place of the first, if it never began."""
        old = (now or datetime.now(UTC)) - self.order.at > FORGOTTEN
        return old and _by_hand(self.order) == by_hand


def ensure_idle(run: str, events: Iterable[Event]) -> None:
    """Refuse to decide anything about a run that goes on already.

    Raises:
        UnderWay: the run goes on, or was ordered to.
    """
    if (execution := RunLifecycle.of(events).goes_on) is not None:
        raise _refusal(run, execution)


@dataclass(frozen=True)
class Resumable:
    """A stuck run, as a person saw it before resuming it."""

    state: RunState
    stuck: Stuck
    epoch: int
    """The execution that ended stuck."""
    order: Event | None
    """An earlier `run.resumed` of which Airflow has begun nothing; None when there is none."""


def resumable(log: EventLog, run: str) -> Resumable:
    """The stuck run, with an earlier order to resume it that Airflow has not begun.

    Raises:
        PermanentError: there is no such run, or it is not stuck.
        UnderWay: the run goes on already; wait for its end.
        TamperedLog: the events are not as they were written.
    """
    log.ensure_untampered(run)
    events = list(log.read(run))
    state = fold(events)
    if state.status == "unknown":
        raise PermanentError(f"There is no run {run}.", remedy="`muster runs` lists them.")
    if state.status != "stuck" or state.stuck is None:
        raise PermanentError(
            f"{run} is not stuck: it is {state.status}.", remedy="`muster runs --status stuck` lists those that are."
        )
    life = RunLifecycle.of(events)
    epoch, execution = max(state.stuck.epoch, life.begun.epoch, life.ended or 0), life.goes_on
    # `run.stuck` is written a moment before `run.closed`, and people are told at once. A person who answers in between
    # finds an execution that is open in the log and does nothing any more.
    if execution is None or (not execution.is_awaited and state.stuck.epoch == epoch):
        return Resumable(state, state.stuck, epoch, None)
    if execution.start is not None and execution.start.type == EventType.RUN_RESUMED and execution.is_awaited:
        return Resumable(state, state.stuck, epoch, execution.start)
    raise _refusal(run, execution)


def resume(
    log: EventLog, run: str, *, by: str, note: str | None = None, by_hand: bool = False, seen: Resumable | None = None
) -> RunState:
    """Write that the run goes on undoing, and return its state before that.

    Args:
        by_hand: True when a person has undone the failed work outside; it is marked as undone and not called again.
        seen: The run as the person saw it. If it got stuck anew since, the order is refused.

    Raises:
        PermanentError: there is no such run, it is not stuck, or nothing is left that could be undone by hand.
        StillRunning: a compensation is committing something, and that does not come to an end.
        TamperedLog: the events are not as they were written.
        AlreadyResumed: of two people who resume at once, this one came second; nothing was written.
        UnderWay: the run goes on already, or is stuck anew; nothing was written.
    """
    # A key for each call, not for each run: of two people who resume at once, the second finds an order under another
    # key, and is refused.
    key = f"resumed/{uuid4().hex}"
    while True:
        now = resumable(log, run)
        if seen is not None and now.epoch != seen.epoch:
            raise UnderWay(f"{run} has gone on and is stuck anew; nothing was changed.", remedy=_LOOK.format(run))
        order = now.order
        if order is None:
            new = RunResumed(note=note, by_hand=by_hand, epoch=now.epoch).event(actor=by, key=key)
            # One append for both. A process that dies between two would leave an order that calls the compensation
            # again although a person has undone the work, or a mark that nobody ordered.
            marks = _done_by_hand(log, now, by) if by_hand else ()
            try:
                order = log.append(run, [new, *marks], expected=now.state.version)[0]
            except ConcurrencyError:
                # Something was written since the run was read. Read it again: if that was another person's order, the
                # refusal names it.
                continue
        if order.key != key:
            raise already_resumed(run, order, by_hand=by_hand)
        return now.state


def end_by_hand(log: EventLog, run: str, *, by: str, note: str | None = None, seen: Resumable) -> None:
    """Write that a person has undone all that is left of a run, and close it as `compensated`.

    For a run that Airflow does not know any more: no task could close it.

    Raises:
        PermanentError: there is no such run, it is not stuck, or it is stuck anew since it was seen.
        StillRunning: a compensation is committing something, and that does not come to an end.
        TamperedLog: the events are not as they were written.
        ConcurrencyError: something was written meanwhile; nothing was changed.
    """
    now = resumable(log, run)
    if now.epoch != seen.epoch:
        raise UnderWay(f"{run} has gone on and is stuck anew; nothing was changed.", remedy=_LOOK.format(run))
    state, epoch = now.state, now.epoch + 1
    if (hanging := log.database.run(revoke_left(log.database, state, state.version + 1))) is not None:
        raise hanging[-1]
    word = RunResumed(note=note, by_hand=True, epoch=now.epoch).event(actor=by)
    said = [word, *undone_by_hand(state, list(state.steps), now.stuck.epoch, by)]
    # One append for all events: after `run.resumed` alone the reconciler would take the run for one that died.
    version = state.version
    state = fold(_as_written(run, version, said), state)
    reason = state.reason if state.unwinding is None else state.unwinding.reason
    counts, cost = counts_of(state), str(state.cost)
    closed = RunClosed(status="compensated", reason=reason, counts=counts, cost=cost, epoch=epoch)
    event = closed.event(actor=by, key=keys.closed(epoch))
    log.append(run, [*said, *left_open(state, epoch), event], expected=version)


def _as_written(run: str, version: int, events: Iterable[NewEvent]) -> Iterator[Event]:
    """Events that are about to be written, as the log will have them after a version."""
    for number, event in enumerate(events, version + 1):
        yield Event(
            **{field.name: getattr(event, field.name) for field in fields(NewEvent)},
            position=0,
            stream=run,
            version=number,
            id=uuid4(),
            at=datetime.now(UTC),
            correlation=run,
            previous_hash="",
            hash="",
        )


def already_resumed(run: str, order: Event, *, by_hand: bool) -> AlreadyResumed:
    """The refusal for a second person who resumes the run; it says whether both said the same about `by_hand`."""
    said = f"{order.actor} has resumed {run} already, at {_at(order)}"
    if _by_hand(order) == by_hand:
        return AlreadyResumed(f"{said}.", order, remedy=_LOOK.format(run))
    how = "without saying" if by_hand else "and said"
    return AlreadyResumed(
        f"{said}, {how} that what failed was done by hand; what you say was not written.",
        order,
        remedy=f"Wait for the end of that: if it is stuck again, `muster resume {run} --by-hand`."
        if by_hand
        else _LOOK.format(run),
    )


def _refusal(run: str, found: Execution) -> UnderWay:
    said = f"{run} goes on already: {_words(found)}; nothing was changed."
    remedy = "Wait for its end" + (f", or stop it with `muster cancel {run}`." if found.performs_steps else ".")
    if found.is_awaited:
        remedy += " What Airflow was not told of, the reconciler carries out after ten minutes."
    return UnderWay(said, remedy=remedy)


def _words(found: Execution) -> str:
    """One clause that says what is under way, since when and by whom."""
    cause = found.cause
    if cause is None:
        return "it has not ended"
    since = f"at {_at(cause)}"
    if found.undone_with is not None:
        return f"it is undone with {found.undone_with} since {_at(cause)}"
    if cause.type == EventType.RUN_CONTINUED:
        return f"it died, and {cause.actor} had it go on where it stopped {since}"
    match payload_of(cause):
        case RunRestarted() as said:
            return f"{cause.actor} has restarted it from {', '.join(said.begins)} {since}"
        case DeadLetterRedriven(work_items=by_step):
            work_items = [work_key(name, index) for name, indices in by_step.items() for index in indices]
            more = f" and {len(work_items) - 3} more" if len(work_items) > 3 else ""
            return f"{cause.actor} has redriven {', '.join(work_items[:3])}{more} {since}"
        case RunResumed():
            return f"{cause.actor} has resumed it {since}"
    return f"tasks of it were cleared in Airflow, which began them {since}"


def _by_hand(order: Event) -> bool:
    """True when the order says that a person has undone the failed work."""
    return order.type == EventType.RUN_RESUMED and bool(RunResumed.of(order).by_hand)


def _at(event: Event) -> str:
    return f"{event.at:%Y-%m-%d %H:%M:%S} UTC"


def _done_by_hand(log: EventLog, now: Resumable, by: str) -> list[NewEvent]:
    """The events saying that a person has undone the failed work, or all irreversible work that `run.stuck` names.

    Raises:
        PermanentError: there is no work that they could have undone.
        StillRunning: a compensation is committing something, and that does not come to an end.
    """
    state, stuck = now.state, now.stuck
    named = stuck.irreversible.get(state.id, ()) if stuck.irreversible else (stuck.step,)
    work_items = [(step, index) for step in named for index in state.step(step).standing]
    if stuck.index is not None:
        work_items = [work_item for work_item in work_items if work_item[1] == stuck.index]
    if not work_items and not stuck.irreversible:
        raise PermanentError(
            f"{work_key(stuck.step, stuck.index)} of {state.id} is undone already; nothing was changed.",
            remedy=f"`muster resume {state.id}` undoes what is left.",
        )
    # Revoke before the mark: a compensation in a process that was taken for dead could otherwise still write, and undo
    # the work a second time.
    hanging = log.database.run(revoke_left(log.database, state, state.version + 1, frozenset(work_items)))
    if hanging is not None:
        raise hanging[-1]
    return [
        event for step, index in work_items for event in work_item_undone_by_hand(state, step, index, stuck.epoch, by)
    ]
