"""One work item, which is a step or one item of a fan-out, and the events of its beginning and ending."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from muster.errors import SetAside
from muster.events import keys
from muster.events.keys import work_key
from muster.events.model import Event, NewEvent
from muster.events.payloads.base import OfWork, Place, RecordedError
from muster.events.payloads.work import (
    StepFailed,
    StepFellBack,
    StepSetAside,
    StepSkipped,
    StepStarted,
    StepStopped,
    StepSucceeded,
)
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.view import RunView
from muster.language.resolved_step import ResolvedStep


class Growth(Protocol):
    """How a work item may add others to its list, by what it gives."""

    def refusal(self, output: object) -> str | None:
        """Why what it gives is refused; None when it is not."""
        ...

    async def append(self, services: Services, work_item: WorkItem, ending: NewEvent) -> list[Event]:
        """Write how it ended, with what it adds."""
        ...


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """The work that an action is given."""

    view: RunView
    step: ResolvedStep
    ref: WorkRef
    index: int | None
    variables: Mapping[str, object]
    """The variables of its expressions, including `item` and `index`."""
    undoes: bool = False
    """True when the work is to undo the work item."""
    execution: int = 0
    """Version of the event that this execution of the work began with; 0 before that."""
    first: bool = True
    """True when no other execution of the work has ever begun."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), compare=False)
    """The numbers of its attempts, those of its fallback included."""
    falls_back: bool = False
    """True when its fallback does the work."""
    fresh: int = 0
    """The number of earlier conversations with an agent that gave no usable answer."""
    asked_in: int = 0
    """The epoch whose conversation with an agent is gone on with."""
    agent: str | None = None
    """The agent that it was assigned to in a team."""
    growing: Growth | None = field(default=None, compare=False)
    """What it adds to the plan of its team; None where nothing may come to the plan."""
    failures: int = 0
    """The number of attempts of this execution that have failed."""

    @property
    def key(self) -> str:
        """The idempotency key within the run."""
        return keys.work_key(self.step.id, self.index)

    @property
    def place(self) -> Place:
        """The fields that every event about the work item has."""
        return {"step": self.step.id, "index": self.index, "epoch": self.ref.epoch}

    @property
    def work(self) -> str:
        """The name under which attempts at the work item are fenced, unique among all runs."""
        return f"{self.ref.run}/{self.key}"

    @property
    def effect_key(self) -> str:
        """The key of its effects outside the log."""
        # It changes once the work was undone: under the old key the ledger would return the result of an effect that
        # was taken back, and the work that is done again would do nothing.
        result = self.view.state.step(self.step.id)
        work = result.whole if self.index is None else result.items.get(self.index)
        undone = work.undone if work is not None else 0
        return f"{self.view.id}/{self.key}" + (f"~{undone}" if undone else "")

    @property
    def ended_key(self) -> str:
        """The key of its ending, so that of several endings in an epoch only the first is written."""
        # A compensation may go on in a later epoch than the work, after `muster resume`. Keyed by the epoch of the work
        # that it undoes, it still ends only once.
        if self.undoes:
            return keys.undone(self.key, self.view.state.step(self.step.id).work(self.index).epoch)
        return keys.ended(self.key, self.ref.epoch)

    def started(self, begins: str, key: str | None) -> NewEvent:
        """The event that work on the work item begins: without an ending after it, the work may have happened."""
        ref, kind = self.ref, self.step.kind
        said = StepStarted(**self.place, kind=kind, lane=ref.lane, attempt=ref.attempt, begins=begins, ahead=ref.ahead)
        return said.event(key=key, actor=self._actor())

    def fell_back(self, error: RecordedError) -> NewEvent:
        """The event that the fallback takes over after an error; with no execution, that it goes on in a new epoch."""
        execution = self.execution or None
        said = StepFellBack(**self.place, error=error, execution=execution)
        return said.event(key=keys.fell_back(self.key, execution, self.ref.epoch))

    def succeeded(self, answer: ActionResult, *, fallback: bool = False) -> NewEvent:
        """The event that the work item succeeded."""
        said = StepSucceeded(
            **self.place,
            output=answer.output,
            output_type=answer.output_type,
            produced_by=answer.produced_by,
            fallback=fallback,
        )
        return self._ending_of(said)

    def failed(self, error: BaseException) -> NewEvent:
        """The event that the work item failed for good."""
        return self._ending_of(StepFailed(**self.place, error=RecordedError.of(error)))

    def skipped(self, reason: str) -> NewEvent:
        """The event that the work item was skipped; later steps are decided by `reason`, one of Muster's own."""
        return self._ending_of(StepSkipped(**self.place, reason=reason))

    def skipped_itself(self, words: str) -> NewEvent:
        """The event that an Airflow operator skipped itself, for a reason in its own words."""
        # Never the bare words: an operator that says "rejected" or "cancelled" would be taken for Muster's own reason,
        # by which later steps are decided.
        return self.skipped("the operator skipped itself" + (f": {words}" if words else ""))

    def set_aside(self, error: SetAside) -> NewEvent:
        """The event that an item is set aside; a step that is no fan-out fails, as it has no other items."""
        if self.index is None:
            return self.failed(error)
        findings = [finding.model_dump(mode="json") for finding in error.findings]
        return self._ending_of(StepSetAside(**self.place, findings=findings, error=RecordedError.of(error)))

    def _ending_of(self, said: OfWork) -> NewEvent:
        return said.event(key=self.ended_key, actor=self._actor())

    def _actor(self) -> str:
        """The agent that does the work, else Muster itself."""
        return self.agent or next(iter(self.step.agents), "muster")


@dataclass(frozen=True, kw_only=True)
class ActionResult:
    """The result of an action."""

    output: object
    """JSON-ready."""
    output_type: object = None
    """How to hydrate the output: a type's name, a JSON Schema, `skill:<name>`, or None for plain data."""
    produced_by: str = "code"
    """The maker of the output: `code`, `operator`, `notice`, `run`, `person:<name>`, `model:<tier>:<model>`, or `rules`
    when a skill answered in place of a model.
    """


Action = Callable[[Services, WorkItem], Awaitable[ActionResult]]


def failed_as_a_whole(ref: WorkRef, error: BaseException) -> NewEvent:
    """The event that a step failed before any work item of it began."""
    said = StepFailed(step=ref.step, index=None, epoch=ref.epoch, error=RecordedError.of(error))
    return said.event(key=keys.ended(ref.step, ref.epoch))


def given_up(step: str, index: int | None, epoch: int) -> NewEvent:
    """The event that ends a work item which was given up."""
    # It takes the key of the ending: a process that was taken for dead and ends the work later cannot add an outcome to
    # work that counts as undone, or to a run that is closed.
    said = StepStopped(step=step, index=index, epoch=epoch)
    return said.event(key=keys.ended(work_key(step, index), epoch))
