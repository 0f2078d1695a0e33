"""The state of one piece of a run's work: a step, or an item of a fan-out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from muster.events.projections import fan_out_status

Status = Literal[
    "pending", "running", "retrying", "waiting", "stopped", "succeeded", "failed", "skipped", "set_aside", "undone"
]

OPEN: frozenset[Status] = frozenset({"running", "retrying", "waiting"})
"""What a step or item is in while somebody is at it; when its run closes it is `stopped`, until it begins again."""
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "skipped", "set_aside", "undone"})
"""What a step or item never leaves."""


@dataclass(slots=True)
class Approval:
    """A question to people, and what came of it."""

    subject: Any = None
    assignees: list[str] = field(default_factory=list)
    within: Any = None
    otherwise: str | None = None
    requested_at: datetime | None = None
    approved: bool | None = None
    """None while nobody has answered."""
    by: str | None = None
    answer: str | None = None
    """`person`, `timeout` or `refused`."""
    note: str | None = None
    answered_at: datetime | None = None


@dataclass(slots=True)
class Undoing:
    """The compensation of one piece of work."""

    status: Literal["running", "retrying", "succeeded", "failed"] = "running"
    error: Mapping[str, Any] | None = None
    output: Any = None
    by_hand: bool = False
    """True when a person did it."""


@dataclass(slots=True)
class WorkState:
    """One piece of work: a step outside a fan-out, or one item of a fan-out."""

    status: Status = "pending"
    attempt: int = 0
    input: Any = None
    output: Any = None
    """JSON data: what it gave back when it last came through and was not undone since, for whoever undoes it."""
    output_type: str | None = None
    produced_by: str | None = None
    fallback: bool = False
    reason: str | None = None
    """Why it was skipped."""
    error: Mapping[str, Any] | None = None
    """`class`, `message` and `remedy` of the last failure; None once it succeeded."""
    findings: list[Any] = field(default_factory=list)
    approval: Approval | None = None
    decision: Literal["redriven", "discarded"] | None = None
    """What a person decided about it as a dead letter; None again once it has ended anew."""
    children: list[str] = field(default_factory=list)
    """The ids of the runs it has asked for, in order."""
    undoing: Undoing | None = None
    """Its compensation, once that began; None again when the work is done anew."""
    undone: int = 0
    """How often it has been undone: what is done after that is other work, with effects of its own."""
    epoch: int = 0
    """The epoch in which it was last begun or ended."""
    outcome: int | None = None
    """The epoch of its latest outcome."""
    since: int = 0
    """The latest epoch that was to do it: an earlier outcome does not count any more."""
    anew: int = 0
    """The latest epoch that was to do all of it again, and not only what a redrive names."""
    begun: int | None = None
    """The epoch in which it last began, before any undoing: what was skipped after that may have happened."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    calls: int = 0
    cost: Decimal = Decimal(0)
    """USD spent on model calls."""
    usage: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """True when its outcome is final."""
        return self.status in ENDED

    @property
    def has_outcome(self) -> bool:
        """True when its outcome counts: it is not undone, and no later execution was to do the work again."""
        return self.status in ENDED and self.status != "undone" and (self.outcome or 0) >= self.since

    @property
    def is_over(self) -> bool:
        """True when nothing is to be done about it: it has an outcome that counts, or was undone."""
        return self.has_outcome or self.status == "undone"

    @property
    def result(self) -> Any:
        """What it gave back, for whatever comes after it: None unless it came through."""
        return self.output if self.status in ("succeeded", "undone") else None


@dataclass(slots=True)
class StepState:
    """A step, and its items when it is a fan-out."""

    id: str
    kind: str | None = None
    lane: str | None = None
    whole: WorkState = field(default_factory=WorkState)
    """The step itself: all there is outside a fan-out."""
    length: int | None = None
    """Length of the list it fans out over; None outside a fan-out or before it was expanded."""
    indices: list[int] = field(default_factory=list)
    """The positions that have work."""
    laid_out: int = 0
    """The epoch in which the list was laid out last."""
    items: dict[int, WorkState] = field(default_factory=dict)

    @property
    def is_fan_out(self) -> bool:
        """True when the step works on the items of a list."""
        return self.length is not None

    @property
    def status(self) -> Status:
        """Where the step stands; a fan-out has ended when every position with work has."""
        if self.length is None or self.ended_as_a_whole:
            return self.whole.status
        if not all(index in self.items and self.items[index].is_over for index in self.indices):
            is_open = any(item.status in OPEN for item in self.items.values())
            return "stopped" if self.whole.status == "stopped" and not is_open else "running"
        return fan_out_status(self.counts)

    @property
    def ended(self) -> bool:
        """True when its outcome is final."""
        return self.status in ENDED

    @property
    def ended_as_a_whole(self) -> bool:
        """True when it has ended, of a fan-out when it failed or was skipped before its items."""
        outcome = self.whole.outcome
        return self.whole.ended and outcome is not None and outcome >= self.laid_out

    @property
    def counts(self) -> dict[str, int]:
        """How many items ended in which way."""
        counts = dict.fromkeys(("succeeded", "failed", "skipped", "set_aside"), 0)
        for item in self.items.values():
            if item.is_over:
                counts[item.status] = counts.get(item.status, 0) + 1
        return counts

    @property
    def output(self) -> Any:
        """What `{{ steps.<id> }}` stands for: in a fan-out, a list with null where nothing came out."""
        if self.length is None or self.ended_as_a_whole:
            return self.whole.result
        return [self.items[index].result if index in self.items else None for index in range(self.length)]

    def work(self, index: int | None) -> WorkState:
        """The state of an item, or of the step itself for None; made when it is not there."""
        if index is None:
            return self.whole
        found = self.items.get(index)
        if found is None:
            found = self.items[index] = WorkState()
        return found

    @property
    def cost(self) -> Decimal:
        """USD spent by the step and its items."""
        return sum((item.cost for item in self.items.values()), self.whole.cost)
