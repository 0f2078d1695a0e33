"""The state of one run, folded from its events: pure, and the same for screens, decisions and replay."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal

from muster.events.facts import Fact
from muster.events.model import ASKING, Event
from muster.events.model import EventType as T
from muster.events.projections import fan_out_status, money
from muster.events.sealing import words
from muster.events.undoing import IRREVERSIBLE, Stuck, Unwinding
from muster.events.work import Approval, Status, StepState, Undoing, WorkState

Happening = Event | Fact
"""What a fold reads: events, or the little that bulk reading takes of them."""

CANCELLED, UNWINDING = "cancelled", "unwinding"
"""Reasons of skipped work that a run does not begin any more: an earlier execution's outcome of it stands."""

RunStatus = Literal["unknown", "open", "succeeded", "failed", "compensated", "stuck"]


@dataclass(slots=True)
class RunState:
    """Everything that is known of a run at one version of its stream."""

    id: str = ""
    status: RunStatus = "unknown"
    """`unknown` before `run.opened`."""
    automation: str | None = None
    definition: str | None = None
    """Hash of the definition the run belongs to."""
    bundle_version: str | None = None
    inputs: dict[str, object] = field(default_factory=dict)
    trigger: object = None
    requested_by: str | None = None
    dag_id: str | None = None
    dag_run_id: str | None = None
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    ended: int | None = None
    """The epoch of the execution that has ended; None while one goes on."""
    reason: str | None = None
    cancelled_by: str | None = None
    """Who asked for the run to be cancelled; None when nobody has."""
    cancel_reason: str | None = None
    parent: dict[str, object] | None = None
    """The run, step and index that asked for this run; None when no run did."""
    scheduled: dict[str, str | None] | None = None
    """The times of the schedule that has started it: `at`, `begins`, `ends`."""
    undo_reason: str | None = None
    """Why it is undone although it did not fail itself: its parent is undone. None when it is not."""
    undo_told: bool = False
    """True when a person knows of its irreversible work and wants the rest undone. Work that is done again after that
    may do more of it."""
    undone_by_hand: dict[str, list[str]] = field(default_factory=dict)
    """By run, the irreversible steps that a person has undone."""
    epoch: int = 0
    """The number of the execution that Airflow began last."""
    by_hand: bool = False
    """True for an execution without an order: tasks were cleared in Airflow by hand, and the log cannot tell which."""
    redriven: dict[str, list[int | None]] = field(default_factory=dict)
    """The dead letters being done again, positions by step; empty once the run has closed."""
    again: dict[str, list[int] | None] = field(default_factory=dict)
    """What an order has done again, by step: positions of its list, or None for all of it; empty once it has closed."""
    unwinding: Unwinding | None = None
    """What it last began to undo."""
    stuck: Stuck | None = None
    """Where undoing last stopped; a resumed run keeps it, with the epoch it happened in."""
    counts: dict[str, int] = field(default_factory=dict)
    """Of the items and steps, as `run.closed` told them."""
    steps: dict[str, StepState] = field(default_factory=dict)
    """By id, in order of their first event."""
    cost: Decimal = Decimal(0)
    """USD spent on model calls."""
    calls: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    """Tokens and the like, added up over all model calls."""
    version: int = 0
    """Version of the last event folded in."""

    def step(self, id: str) -> StepState:
        """The state of a step; pending when nothing happened to it yet."""
        step = self.steps.get(id)
        if step is None:
            step = self.steps[id] = StepState(id)
        return step

    def outputs(self) -> dict[str, object]:
        """Every ended step's output by id."""
        return {id: step.output for id, step in self.steps.items() if step.ended}

    @property
    def children(self) -> list[str]:
        """The ids of all runs that its steps have asked for."""
        return [child for _, _, work in self.works() for child in work.children]

    @property
    def approvals(self) -> dict[tuple[str, int | None], Approval]:
        """Every question put to people, by step and index."""
        return {(id, index): work.approval for id, index, work in self.works() if work.approval is not None}

    def works(self) -> Iterator[tuple[str, int | None, WorkState]]:
        """Each step as a whole, and each of its items: the step's id, the item's position, and how it stands."""
        for id, step in self.steps.items():
            yield id, None, step.whole
            for index, work in step.items.items():
                yield id, index, work

    def apply(self, event: Happening) -> None:
        """Take one more event in; types that say nothing about the state only move the version."""
        self.id, self.version = event.stream, event.version
        type, data = event.type, event.data
        # `step` and `work` written out, because their calls cost too much here: a replay comes here for every event.
        if (on_step := _ON_STEP.get(type)) is not None:
            if isinstance(name := data.get("step"), str):
                step = self.steps.get(name) or self.step(name)
                index = data.get("index")
                on_step(self, step, step.whole if index is None else step.items.get(index) or step.work(index), event)
        elif (on_run := _ON_RUN.get(type)) is not None:
            on_run(self, event)


def fold(events: Iterable[Happening], state: RunState | None = None) -> RunState:
    """The state after `events`, in order of version; goes on from `state` when given, which it changes."""
    state = RunState() if state is None else state
    for event in events:
        state.apply(event)
    return state


async def afold(events: AsyncIterable[Happening], state: RunState | None = None) -> RunState:
    """`fold` over what `EventLog.aread` yields."""
    state = RunState() if state is None else state
    async for event in events:
        state.apply(event)
    return state


def _opened(run: RunState, event: Happening) -> None:
    data = event.data
    run.status, run.opened_at = "open", event.at
    run.automation, run.dag_id, run.dag_run_id = data.get("automation"), data.get("dag_id"), data.get("dag_run_id")
    run.definition, run.bundle_version = data.get("definition"), data.get("bundle_version")
    run.requested_by, run.trigger = data.get("requested_by"), data.get("trigger")
    run.inputs, run.parent, run.scheduled = dict(data.get("inputs") or {}), data.get("parent"), data.get("scheduled")


def _closed(run: RunState, event: Happening) -> None:
    data = event.data
    run.status, run.closed_at, run.reason = data.get("status", "failed"), event.at, words(data.get("reason"))
    run.ended = data.get("epoch") or 0
    run.counts, run.redriven, run.again = dict(data.get("counts") or {}), {}, {}


def _begun(run: RunState, event: Happening) -> None:
    stands, epoch = event.data.get("stands"), event.data.get("epoch") or 0
    if epoch > run.epoch and stands is None:
        # Tasks were cleared in Airflow by hand: only what begins says what is done again.
        _untold(run)
        run.by_hand, run.redriven, run.again = True, {}, {}
    elif epoch > run.epoch and stands is not None:
        run.by_hand = False
        for step in (step for step in run.steps.values() if step.id not in stands):
            step.owe(_ordered(run, step), epoch)
    # `ended` may be this very number: an execution given up before it began, and ordered again, has the same.
    run.epoch, run.ended = epoch, None


def _cancel_requested(run: RunState, event: Happening) -> None:
    run.cancelled_by, run.cancel_reason = event.actor, words(event.data.get("reason"))


def _undo_requested(run: RunState, event: Happening) -> None:
    run.undo_reason, run.undo_told = event.data["reason"], bool(event.data.get("told"))
    run.undone_by_hand = dict(event.data.get("by_hand") or {})


def _resumed(run: RunState, event: Happening) -> None:
    if run.stuck is not None and run.stuck.error.get("class") == IRREVERSIBLE:
        run.undo_told = True
        run.undone_by_hand = dict(run.stuck.irreversible) if event.data.get("by_hand") else {}


def _restarted(run: RunState, event: Happening) -> None:
    _wanted_again(run)
    run.redriven, run.again = {}, dict(event.data.get("again") or {})
    if (now := event.data.get("definition")) is not None:
        run.definition, run.bundle_version, run.inputs = now, event.data["bundle_version"], dict(event.data["inputs"])


def _wanted_again(run: RunState) -> None:
    """An order to do work again cancels earlier wishes that the run ends or is undone."""
    run.cancelled_by = run.cancel_reason = run.undo_reason = None
    _untold(run)


def _untold(run: RunState) -> None:
    """Work that is done again may do more irreversible work, so a person has to be asked about it anew."""
    run.undo_told, run.undone_by_hand = False, {}


def _decided(decision: Literal["redriven", "discarded"]) -> Callable[[RunState, Happening], None]:
    def apply(run: RunState, event: Happening) -> None:
        if decision == "redriven":
            _wanted_again(run)
            run.redriven, run.again = dict(event.data["pieces"]), dict(event.data.get("again") or {})
        for name, indices in event.data["pieces"].items():
            for index in indices:
                run.step(name).work(index).decision = decision

    return apply


def _unwinding(run: RunState, event: Happening) -> None:
    data = event.data
    run.unwinding = Unwinding(data["reason"], data["pieces"], data["epoch"])


def _expanded(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    data = event.data
    again = data.get("again")
    if again is None and not run.again:
        # As layouts of redrives were written before they said so.
        named = [index for indices in run.redriven.values() for index in indices]
        again = None if None in named else named or None
    step.lay_out(data["length"], data["indices"], data.get("epoch") or 0, again, data.get("names"), data.get("added"))
    work.status, work.reason, work.started_at = "running", data.get("held"), work.started_at or event.at


def _ordered(run: RunState, step: StepState) -> list[int] | None:
    """The positions that are done again of a step that an order does not leave as it was; None for all of it."""
    if run.again or None in run.redriven.get(step.id, [None]):
        return run.again.get(step.id)
    # As orders were written before they said so.
    return [index for index in run.redriven[step.id] if index is not None]


def _assigned(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    work.member = event.data.get("member")


def _started(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    data = event.data
    step.kind, step.lane = data.get("kind") or step.kind, data.get("lane") or step.lane
    epoch = data.get("epoch") or 0
    if work.ended and epoch <= work.epoch:
        # Two processes performed it, and the other has ended it already: that outcome stands.
        return
    if epoch > work.epoch:
        _anew(work, epoch)
        work.ended_at = work.reason = None
    # A question stays one while its task is performed again: to remind people, or because its process died.
    work.status = "waiting" if data.get("kind") in ASKING else "running"
    work.attempt = data.get("attempt") or work.attempt + 1
    work.input, work.started_at = data.get("input"), work.started_at or event.at
    if run.cancelled_by is None and (run.unwinding is None or run.unwinding.epoch != epoch):
        # Work that begins after a cancellation, or while its run is undone, is stopped before it does anything.
        work.begun, work.undoing = epoch, None


def _child_requested(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    if (child := event.data["child"]) not in work.children:
        work.children.append(child)


def _retried(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    if not work.ended:
        work.status, work.attempt = "retrying", event.data.get("attempt") or work.attempt
        work.error = event.data.get("error")


def _ended(status: Status) -> Callable[[RunState, StepState, WorkState, Happening], None]:
    def apply(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
        data = event.data
        epoch = data.get("epoch") or 0
        if epoch < work.epoch:
            # A process that was taken for dead ended it late: a later execution has begun it since.
            return
        if epoch > work.epoch:
            _anew(work, epoch)
        work.status, work.ended_at, work.decision = status, event.at, None
        work.outcome = epoch
        if status == "succeeded":
            work.output, work.output_type = data.get("output"), data.get("output_type")
        work.produced_by, work.fallback = data.get("produced_by"), bool(data.get("fallback"))
        work.reason, work.error = words(data.get("reason")), data.get("error")
        work.findings = list(data.get("findings") or [])

    return apply


def _anew(work: WorkState, epoch: int) -> None:
    """A later execution begins the work: undone work is as if it had never been, half undone work stays so."""
    if work.status == "undone":
        work.output = work.output_type = work.undoing = None
    work.epoch = epoch


def _completed(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    if not step.ended_as_a_whole:
        work.status, work.ended_at = fan_out_status(event.data.get("counts") or {}), event.at


def _stopped(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    if not work.ended:
        work.status = "stopped"


def _undoing(status: Literal["running", "retrying", "failed"]) -> Callable[..., None]:
    def apply(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
        undoing, begun = work.undoing or Undoing(), work.begun  # It is neither undone nor done anew.
        if undoing.status != "succeeded" and begun is not None and event.data.get("work_epoch", begun) >= begun:
            work.undoing, undoing.status, undoing.error = undoing, status, event.data.get("error")

    return apply


def _undone(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    data = event.data
    work.undone += 1
    work.undoing = Undoing("succeeded", output=data.get("output"), by_hand=bool(data.get("by_hand")))
    work.status, work.ended_at, work.begun = "undone", event.at, None


def _stuck(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    data = event.data
    if run.closed_at is None:
        run.status, run.reason = "stuck", words(data["error"].get("message"))
    run.stuck = Stuck(data["step"], data.get("index"), data["error"], data["epoch"], data.get("irreversible") or {})


def _called(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    data = event.data
    cost = money(data.get("cost"))
    run.cost, run.calls = run.cost + cost, run.calls + 1
    work.cost, work.calls = work.cost + cost, work.calls + 1
    if usage := data.get("usage"):
        for used in (run.usage, work.usage):
            for name, amount in usage.items():
                if isinstance(amount, int):
                    used[name] = used.get(name, 0) + amount


def _requested(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    work.approval = Approval.asked(event.data, event.at)
    if not work.ended:
        work.status = "waiting"


def _answered(run: RunState, step: StepState, work: WorkState, event: Happening) -> None:
    data = event.data
    approval = work.approval = work.approval or Approval()
    approval.approved, approval.by, approval.answer = bool(data.get("approved")), data.get("by"), data.get("answer")
    approval.note, approval.answered_at = words(data.get("note")), event.at
    if not work.ended:
        work.status = "running"


_ON_RUN: Mapping[str, Callable[[RunState, Happening], None]] = {
    T.RUN_OPENED: _opened,
    T.RUN_BEGUN: _begun,
    T.RUN_CLOSED: _closed,
    T.RUN_CANCEL_REQUESTED: _cancel_requested,
    T.RUN_UNDO_REQUESTED: _undo_requested,
    T.RUN_RESUMED: _resumed,
    T.RUN_RESTARTED: _restarted,
    T.DEAD_LETTER_REDRIVEN: _decided("redriven"),
    T.DEAD_LETTER_DISCARDED: _decided("discarded"),
    T.SAGA_UNWINDING: _unwinding,
}

_ON_STEP: Mapping[str, Callable[[RunState, StepState, WorkState, Happening], None]] = {
    T.STEP_EXPANDED: _expanded,
    T.STEP_EXTENDED: lambda run, step, work, event: step.extend(event.data),
    T.TASK_ASSIGNED: _assigned,
    T.STEP_STARTED: _started,
    T.CHILD_REQUESTED: _child_requested,
    T.STEP_RETRIED: _retried,
    T.STEP_SUCCEEDED: _ended("succeeded"),
    T.STEP_FAILED: _ended("failed"),
    T.STEP_SKIPPED: _ended("skipped"),
    T.STEP_SET_ASIDE: _ended("set_aside"),
    T.STEP_COMPLETED: _completed,
    T.STEP_STOPPED: _stopped,
    T.COMPENSATION_STARTED: _undoing("running"),
    T.COMPENSATION_RETRIED: _undoing("retrying"),
    T.COMPENSATION_FAILED: _undoing("failed"),
    T.COMPENSATION_SUCCEEDED: _undone,
    T.RUN_STUCK: _stuck,
    T.MODEL_CALLED: _called,
    T.APPROVAL_REQUESTED: _requested,
    T.APPROVAL_ANSWERED: _answered,
}
