"""The life of a run: which executions of it began and ended, and what was ordered since.

An execution is what Airflow performs between starting a run and its end: the first one, and a later one whenever its
tasks were cleared. `RunLifecycle` is folded from the few events that tell of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from muster.events.model import Event
from muster.events.model import EventType as T

REPEAT_ORDERS = frozenset({T.RUN_RESTARTED, T.DEAD_LETTER_REDRIVEN})
"""A person's word that steps of a run which has ended are done again."""
ORDERS = REPEAT_ORDERS | {T.RUN_RESUMED}
"""A person's word that a run which has ended goes on; Airflow is asked after it is written."""
CONTINUATIONS = ORDERS | {T.RUN_BEGUN, T.RUN_CONTINUED}
"""What is written when a run goes on that had ended, or had died."""
LIFECYCLE_EVENTS = CONTINUATIONS | {T.RUN_OPENED, T.RUN_CLOSED, T.RUN_CANCEL_REQUESTED, T.SAGA_UNWINDING}
"""The events that the life of a run is told from; they belong to no step."""


@dataclass(frozen=True)
class Execution:
    """One execution of a run."""

    epoch: int = 0
    """Its number, counted from 0."""
    begun: bool = True
    """False while it is ordered and no task of it has begun."""
    is_awaited: bool = False
    """True while Airflow is asked to begin it, or to go on with it after it died: Airflow starts it next."""
    orders: tuple[Event, ...] = ()
    """What it was ordered with; empty of the first one, and where tasks were cleared in Airflow by hand."""
    start: Event | None = None
    """The event that it comes from: its first order, or else the `run.begun` of it; None of the first one."""
    continued: Event | None = None
    """The last event that says that it died and goes on where it stopped; None when it never died."""
    preserved_steps: frozenset[str] | None = None
    """The steps that it leaves as they were, where its events name them."""

    @property
    def cause(self) -> Event | None:
        """Why a run that had ended, or had died, goes on; None of the first execution while it lives."""
        return self.start or self.continued

    @property
    def since(self) -> int:
        """Version of the event it comes from; 0 of the first one."""
        return self.start.version if self.start is not None else 0

    @property
    def undone_with(self) -> str | None:
        """The run that this one is undone with: Airflow performs nothing of it. None of any other execution."""
        begun = self.start if self.start is not None and self.start.type == T.RUN_BEGUN else None
        return None if begun is None else begun.data.get("undone_with")

    @property
    def performs_steps(self) -> bool:
        """False when all that it does is undo, by itself or with the run that asked for it."""
        return self.undone_with is None and (self.start is None or self.start.type != T.RUN_RESUMED)


@dataclass(slots=True)
class RunLifecycle:
    """The executions of one run, from its `LIFECYCLE_EVENTS`, in order."""

    is_opened: bool = False
    definition: str | None = None
    """The hash of the definition that it is performed by now; None before it was opened."""
    bundle_version: str | None = None
    """The version of the Dag bundle that has it, where Airflow said which."""
    is_given: bool = True
    """False while Airflow has begun nothing with the version that a person has had the run go on with."""
    begun: Execution = field(default_factory=Execution)
    """The last one that Airflow has begun."""
    ordered: Execution | None = None
    """The one after it, once a person has ordered it."""
    ended: int | None = None
    """The epoch in which the run ended last; None while an execution goes on."""
    status: str | None = None
    """How it ended then."""
    is_cancelled: bool = False
    """True when somebody wants it to go no further, and nobody has had it done again since."""
    unwound_in: int | None = None
    """The epoch that last began to undo it."""

    @classmethod
    def of(cls, events: Iterable[Event]) -> RunLifecycle:
        """The life that these events tell; others among them say nothing about it."""
        life = cls()
        for event in events:
            life.apply(event)
        return life

    @property
    def last(self) -> Execution:
        """The last execution: the one that was ordered, or else the one that was begun."""
        return self.ordered or self.begun

    @property
    def under_way(self) -> Execution | None:
        """The execution that goes on or is ordered; None once the run has ended."""
        return self.ordered or (None if self.has_ended(self.begun.epoch) else self.begun)

    @property
    def goes_on(self) -> Execution | None:
        """`under_way` of a run that had ended or had died before: None as well while its first execution goes on."""
        execution = self.under_way
        return None if execution is None or execution.cause is None else execution

    @property
    def performs_steps(self) -> bool:
        """True while its steps are performed, for the first time or again, or are about to be."""
        return self.is_opened and self.under_way is not None and self.under_way.performs_steps

    @property
    def is_performed(self) -> bool:
        """True while Airflow performs it or is about to, if only to undo it: not where another run undoes it."""
        return self.is_opened and self.under_way is not None and self.under_way.undone_with is None

    def has_ended(self, epoch: int) -> bool:
        """True when an execution has ended, or a later one has begun: nothing is to be written about its work."""
        # By the last end only, and not by any that the log holds: an execution that was ordered, given up before it
        # began and ordered again has the same number, under which the log already holds an end.
        return self.begun.epoch > epoch or (self.ended is not None and self.ended >= epoch)

    def apply(self, event: Event) -> None:
        """Take one more event in."""
        match event.type:
            case T.RUN_OPENED:
                self.is_opened = True
                self._performed_by(event)
            case T.RUN_BEGUN:
                self.begun, self.ordered, self.ended, self.is_given = self._begun(event), None, None, True
            case T.RUN_CLOSED:
                self._close(event)
            case T.RUN_CANCEL_REQUESTED:
                self.is_cancelled = True
            case T.SAGA_UNWINDING:
                self.unwound_in = event.data["epoch"]
            case T.RUN_CONTINUED:
                said = event.data.get("stands")
                kept = self.last.preserved_steps if said is None else frozenset(said)
                goes_on = replace(self.last, is_awaited=True, continued=event, preserved_steps=kept)
                # What died may have been ordered and not begun: then it is the ordered execution that goes on.
                if self.ordered is None:
                    self.begun, self.ended = goes_on, None
                else:
                    self.ordered = goes_on
            case T.RUN_RESTARTED | T.DEAD_LETTER_REDRIVEN | T.RUN_RESUMED:
                if event.data.get("definition") is not None:
                    self._performed_by(event)
                    self.is_given = False
                self._order(event)

    def _performed_by(self, event: Event) -> None:
        self.definition, self.bundle_version = event.data.get("definition"), event.data.get("bundle_version")

    def _close(self, event: Event) -> None:
        self.ended, self.status = int(event.data.get("epoch") or 0), event.data.get("status")
        if event.data.get("reconciled"):
            # The reconciler gave the run up, and what was ordered with it. An execution that never began does not use
            # up its number: the next order has the same.
            self.ordered = None
        elif self.ordered is not None and self.ended >= self.ordered.epoch:
            self.begun, self.ordered = replace(self.ordered, begun=True), None
        # Else a person resumed the undoing between `run.stuck` and the end that follows it: this is the end of the
        # execution that got stuck, and what was ordered is still to begin.
        self.begun = replace(self.begun, is_awaited=False)

    def _order(self, order: Event) -> None:
        # An order to do work again comes after the cancellation, and overrides it; one to go on undoing does not.
        self.is_cancelled = self.is_cancelled and order.type not in REPEAT_ORDERS
        before = self.ordered or Execution(self.begun.epoch + 1, begun=False, is_awaited=True, start=order)
        self.ordered = replace(before, orders=(*before.orders, order))

    def _begun(self, event: Event) -> Execution:
        epoch, said = int(event.data["epoch"]), event.data.get("stands")
        preserved_steps = None if said is None else frozenset(said)
        if epoch > self.last.epoch:
            # Nobody ordered it: tasks were cleared in Airflow by hand, or another run undoes this one.
            return Execution(epoch, start=event, preserved_steps=preserved_steps)
        kept = self.last.preserved_steps if preserved_steps is None else preserved_steps
        return replace(self.last, begun=True, is_awaited=False, preserved_steps=kept)
