"""The state of one work item of a run's work: a step, or an item of a fan-out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from muster.events.projections import fan_out_status

Status = Literal[
    "pending", "running", "retrying", "waiting", "stopped", "succeeded", "failed", "skipped", "set_aside", "undone"
]

OPEN: frozenset[Status] = frozenset({"running", "retrying", "waiting"})
"""The states of a step or item at work; when its run closes it is `stopped`, until it begins again."""
ENDED: frozenset[Status] = frozenset({"succeeded", "failed", "skipped", "set_aside", "undone"})
"""The states of a step or item that has ended: only undoing, or a later execution, changes them."""


@dataclass(slots=True)
class Approval:
    """A question to people, and what came of it."""

    subject: object = None
    assignees: list[str] = field(default_factory=list)
    within: object = None
    """Seconds after which no answer counts any more; None for no limit."""
    otherwise: str | None = None
    requested_at: datetime | None = None
    approved: bool | None = None
    """None while nobody has answered."""
    by: str | None = None
    answer: str | None = None
    """`person`, `timeout` or `refused`."""
    note: str | None = None
    answered_at: datetime | None = None

    @classmethod
    def asked(cls, data: Mapping[str, Any], at: datetime) -> Approval:
        """The question that `approval.requested` asks."""
        return cls(
            subject=data.get("subject"),
            assignees=list(data.get("assignees") or []),
            within=data.get("within"),
            otherwise=data.get("otherwise"),
            requested_at=at,
        )


@dataclass(slots=True)
class Undoing:
    """The compensation of one work item."""

    status: Literal["running", "retrying", "succeeded", "failed"] = "running"
    error: Mapping[str, object] | None = None
    output: object = None
    by_hand: bool = False
    """True when a person did it."""


@dataclass(slots=True)
class WorkState:
    """One work item: a step outside a fan-out, or one item of a fan-out."""

    status: Status = "pending"
    attempt: int = 0
    input: object = None
    output: object = None
    """JSON data: the output of its last success that was not undone since, for its compensation."""
    output_type: str | None = None
    produced_by: str | None = None
    fallback: bool = False
    reason: str | None = None
    """Why it was skipped; for a list, also why its last layout began nothing new."""
    error: Mapping[str, object] | None = None
    """`class`, `message` and `remedy` of the last failure; None once it succeeded."""
    findings: list[object] = field(default_factory=list)
    approval: Approval | None = None
    decision: Literal["redriven", "discarded"] | None = None
    """What a person decided about it as a dead letter; None again once it has ended anew."""
    member: int | None = None
    """The task instance of the team's member that took it last; None outside a team."""
    children: list[str] = field(default_factory=list)
    """The ids of the runs it has asked for, in order."""
    undoing: Undoing | None = None
    """Its compensation, once that began; None again when the work is done anew."""
    undone: int = 0
    """How often it has been undone: work that is done after that has effects of its own."""
    epoch: int = 0
    """The epoch in which it was last begun or ended."""
    outcome: int | None = None
    """The epoch of its latest outcome."""
    since: int = 0
    """The latest epoch that was to do it: an earlier outcome does not count any more."""
    begun: int | None = None
    """The epoch in which it last began, before any undoing: it may have happened although it was skipped later."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    calls: int = 0
    """Model calls."""
    cost: Decimal = Decimal(0)
    """USD spent on model calls."""
    usage: dict[str, int] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """True when its outcome is final."""
        return self.status in ENDED

    @property
    def half_undone(self) -> bool:
        """True when undoing it has begun and not ended: nobody knows what of it still stands."""
        return self.undoing is not None and self.undoing.status != "succeeded"

    @property
    def has_outcome(self) -> bool:
        """True when its outcome counts: it is neither undone nor half undone, and no later execution was to do it.

        An outcome that a person has discarded since counts all the same.
        """
        counts = (self.outcome or 0) >= self.since or self.decision == "discarded"
        return counts and self.status in ENDED and self.status != "undone" and not self.half_undone

    def due_again(self, epoch: int) -> None:
        """An execution is to do it again: neither an earlier outcome nor an earlier discarding counts any more."""
        self.since = epoch
        # `redriven` stays until the work has ended anew: it is still the dead letter that is being done again.
        self.decision = None if self.decision == "discarded" else self.decision

    @property
    def is_over(self) -> bool:
        """True when nothing is to be done about it: it has an outcome that counts, or was undone, or is about to be."""
        return self.has_outcome or self.status == "undone" or (self.ended and self.half_undone)

    @property
    def result(self) -> object:
        """Its output as later steps see it: None unless it succeeded."""
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
    names: list[str | None] | None = None
    """The names of the items, where the output is a mapping; None at a position that has nothing any more."""
    added: list[object] = field(default_factory=list)
    """The end of the list, where items were added to it since it was laid out first; None as in `names`."""
    owed: list[int] | None = field(default_factory=list)
    """The positions that were to be done again since, in executions that did not lay it out; None for all of it."""
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
            # Its run was closed in the middle: it is `stopped`, until an item of it is at work again.
            is_open = any(item.status in OPEN for item in self.items.values())
            return "stopped" if self.whole.status == "stopped" and not is_open else "running"
        return fan_out_status(self.counts)

    @property
    def ended(self) -> bool:
        """True when its outcome is final."""
        return self.status in ENDED

    @property
    def works(self) -> tuple[WorkState, ...]:
        """The step as a whole, and each of its items."""
        return (self.whole, *self.items.values())

    @property
    def unfinished(self) -> list[int]:
        """The positions with work of which no outcome counts."""
        return [index for index in self.indices if index not in self.items or not self.items[index].has_outcome]

    @property
    def standing(self) -> list[int | None]:
        """The positions that may have happened and are not undone; None stands for a step outside a fan-out.

        The outcome does not matter: a process may have died in the middle and the next one have skipped the work, or an
        earlier execution did it and a later one had no work for it.
        """
        whole = [None] if self.whole.begun is not None and not self.is_fan_out else []
        return [*whole, *(index for index in sorted(self.items) if self.items[index].begun is not None)]

    @property
    def has_undone(self) -> bool:
        """True when some of its work was undone, and not done anew since."""
        return any(work.status == "undone" for work in self.works)

    @property
    def ended_as_a_whole(self) -> bool:
        """True when it has ended, of a fan-out when it failed or was skipped before its items."""
        # Only since the last layout: a list that failed before its items, and was laid out later, has not ended.
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
        """What `{{ steps.<id> }}` stands for: in a fan-out a list, or a mapping, with null where nothing came out."""
        if self.length is None or self.ended_as_a_whole:
            return self.whole.result
        results = [self.items[index].result if index in self.items else None for index in range(self.length)]
        return self.named(results)

    def named(self, values: list[Any]) -> Any:
        """A value for each item, under its name where the items have names, else as a list."""
        if self.names is None:
            return values
        return {name: value for name, value in zip(self.names, values, strict=False) if name is not None}

    def owe(self, positions: Collection[int] | None, epoch: int) -> None:
        """An execution is to do positions of it again, or all of it for None: earlier outcomes do not count for it."""
        self.whole.due_again(epoch)
        self.owed = None if self.owed is None or positions is None else sorted({*self.owed, *positions})

    def lay_out(
        self,
        length: int,
        indices: Collection[int],
        epoch: int,
        again: Collection[int] | None,
        names: object = None,
        added: object = None,
    ) -> None:
        """Its list was laid out: with these positions, of which those `again` are done again, or all for None."""
        # A layout that begins nothing names nothing, and whoever was forgotten left a marker in place of the names.
        self.names = names if isinstance(names, list) else self.names
        self.length, self.indices, self.laid_out, self.owed = length, list(indices), epoch, []
        self.added = list(added) if isinstance(added, list) else []
        for index in indices if again is None else again:
            # In the first execution there is nothing to do again.
            if epoch and index in self.items:
                self.items[index].due_again(epoch)

    def extend(self, said: Mapping[str, Any]) -> None:
        """Items were added to its list; what was forgotten is a marker in place of a list of them."""
        if (said.get("epoch") or 0) != self.laid_out:
            return
        first, length, items, names = said["first"], said["length"], said.get("items"), said.get("names")
        known, gap = [None] * (length - first), [None] * (first - (self.length or 0))
        self.added = [*self.added, *gap, *(items if isinstance(items, list) else known)]
        if self.names is not None:
            self.names = [*self.names, *gap, *(names if isinstance(names, list) else known)]
        self.length, self.indices = length, [*self.indices, *range(first, length)]

    @property
    def fresh(self) -> int:
        """The first position that no item of it ever had, in any execution."""
        return max(self.length or 0, *(index + 1 for index in self.items), 0)

    def work(self, index: int | None) -> WorkState:
        """The state of an item, or of the step itself for None; made when it is not there."""
        if index is None:
            return self.whole
        item = self.items.get(index)
        if item is None:
            item = self.items[index] = WorkState()
        return item

    @property
    def cost(self) -> Decimal:
        """USD spent by the step and its items."""
        return sum((item.cost for item in self.items.values()), self.whole.cost)
