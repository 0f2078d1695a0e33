"""Makes the decisions of a run again from its log, and finds those that would differ today.

Nothing outside is called and nothing is written: what skills, models and people answered comes from the log. Made
again are the decisions in between: whether a step goes ahead, over what it fans out, which way a branch takes and,
under another version of the YAML, what a step would be given, and do, and with what: whom it asks or tells and in which
words, which agent works how, what undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from muster.errors import MusterError, PermanentError
from muster.events.model import Event
from muster.events.model import EventType as T
from muster.events.payloads.work import StepExpanded, StepExtended, StepFailed, StepSkipped, StepSucceeded
from muster.events.state import RunState
from muster.execution import flow
from muster.execution.kinds.branch import ways_taken
from muster.execution.laying_out import by_item, holds, items_of
from muster.execution.variables import Site, variables_for
from muster.language.definition import Definition
from muster.language.expressions import evaluate
from muster.language.kinds.branch import ResolvedBranch
from muster.language.resolved_step import ResolvedStep
from muster.operations.differing import Part, parts

GOES_AHEAD = "goes ahead"

_OURS = frozenset((flow.UPSTREAM_FAILED, flow.REJECTED, flow.NOT_TAKEN, flow.WHEN))
"""Reasons of skips that follow from the log; other skips are a person's decision."""


@dataclass(frozen=True)
class Difference:
    """One decision that would be another today."""

    version: int
    """Of the event that recorded it."""
    step: str
    index: int | None
    what: str
    recorded: object
    today: object


@dataclass
class Debugged:
    """The result of making a run's decisions again."""

    run: str
    definition: str
    """Hash of the definition they were made with."""
    own: str
    """Hash of the one the run was opened with."""
    decisions: int = 0
    differences: list[Difference] = field(default_factory=list)
    """In order; what follows the first may only be its consequence."""


@dataclass
class _Layout:
    """A step as the decision before it leaves it."""

    variables: Mapping[str, object]
    items: Sequence[object] = ()
    indices: Sequence[int] = ()
    reason: str | None = None
    """Why the step is skipped as a whole."""
    reasons: Mapping[int, str] = field(default_factory=dict)
    """Why items are skipped."""
    error: str | None = None


class _Failure(str):
    """Takes the place of a value that cannot be evaluated, and says why."""

    __slots__ = ()


def debug(events: Iterable[Event], definition: Definition, own: Definition, services: Site) -> Debugged:
    """Make the decisions of a run again under `definition`; `own` is the one it was opened with.

    Raises:
        MusterError: there are no events.
    """
    walk: _Walk | None = None
    for event in events:
        walk = walk or _Walk(Debugged(event.stream, definition.hash, own.hash), definition, own, services)
        walk.take(event)
    if walk is None:
        raise MusterError("The run has no events.", remedy="`muster runs` lists the runs there are.")
    walk.end()
    return walk.found


class _Walk:
    """Goes through a run's events in order, comparing before taking each in."""

    def __init__(self, found: Debugged, definition: Definition, own: Definition, services: Site) -> None:
        self.found = found
        self._definition, self._own, self._services = definition, own, services
        self._state = RunState()
        self._layouts: dict[str, _Layout] = {}
        self._parts: dict[str, list[Part]] = {}
        """Of steps that have begun: what is compared anew for each item."""

    def take(self, event: Event) -> None:
        """Compare what the event recorded with what would be decided now, then take it in."""
        check = _CHECKS.get(event.type)
        name = event.step
        # After a redrive some items stay as they were. Why they did not go ahead is no decision that can be made again.
        if check is not None and name is not None and not self._state.redriven:
            if any(step.id == name for step in self._definition.steps):
                check(self, self._definition.step(name), event)
            else:
                self._compare(event, "the step", "is there", "is gone")
        self._state.apply(event)

    def end(self) -> None:
        """Compare what never happened."""
        if self._state.closed_at is None:
            return
        known = {step.id for step in self._own.steps}
        for step in self._definition.steps:
            if step.id not in self._state.steps and step.id not in known:
                self.found.decisions += 1
                difference = Difference(self._state.version, step.id, None, "the step", "was not there", "is there")
                self.found.differences.append(difference)

    def expanded(self, step: ResolvedStep, event: Event) -> None:
        """A fan-out was laid out."""
        said = StepExpanded.of(event)
        layout = self._layouts[step.id] = self._lay_out(self._definition, step, said.added or ())
        recorded = {"length": said.length, "positions with work": said.indices}
        today: object = {"length": len(layout.items), "positions with work": list(layout.indices)}
        if layout.error is not None:
            today = layout.error
        elif step.each is None:
            today = "no fan-out"
        self._compare(event, "the fan-out", recorded, today)

    def extended(self, step: ResolvedStep, event: Event) -> None:
        """An item has added others: what was in its output, which is recorded."""
        said = StepExtended.of(event)
        for layout in (self._layout(step), self._own_layout(step)):
            layout.items = [*layout.items, *[None] * (said.first - len(layout.items)), *said.items]
            layout.indices = [*layout.indices, *range(said.first, said.length)]

    def skipped(self, step: ResolvedStep, event: Event) -> None:
        """A step or an item did not go ahead."""
        recorded, index = StepSkipped.of(event).reason, event.index
        if recorded not in _OURS:
            return
        layout = self._layout(step)
        reason = layout.reason if index is None else layout.reason or layout.reasons.get(index)
        self._compare(event, "whether it goes ahead", f"skipped: {recorded}", layout.error or _whether(reason))

    def started(self, step: ResolvedStep, event: Event) -> None:
        """A step or an item went ahead."""
        index = event.index
        layout = self._layout(step)
        if index is None:
            self._compare(event, "whether it goes ahead", GOES_AHEAD, layout.error or _whether(layout.reason))
        if layout.error is None and self._definition.hash != self._own.hash:
            self._given(step, event, index)

    def succeeded(self, step: ResolvedStep, event: Event) -> None:
        """A branch took a way."""
        said = StepSucceeded.of(event)
        if not isinstance(step, ResolvedBranch) or said.fallback:
            return
        try:
            today: object = ways_taken(step, self._work_item(self._layout(step), said.index))
        except PermanentError as error:
            today = f"fails: {error.message}"
        self._compare(event, "the way it takes", said.output, today)

    def failed(self, step: ResolvedStep, event: Event) -> None:
        """A step failed as a whole, before any work item of it began: its own expressions could not be evaluated."""
        if event.index is not None or self._state.step(step.id).status != "pending":
            return
        layout = self._lay_out(self._definition, step)
        recorded = f"fails: {StepFailed.of(event).error.message}"
        self._compare(event, "whether it goes ahead", recorded, layout.error or _whether(layout.reason))

    def _layout(self, step: ResolvedStep) -> _Layout:
        """Of a fan-out: as it was laid out; of any other step: made anew each time it starts."""
        if step.each is None or step.id not in self._layouts:
            self._layouts[step.id] = self._lay_out(self._definition, step)
        return self._layouts[step.id]

    def _lay_out(self, definition: Definition, step: ResolvedStep, added: Sequence[object] = ()) -> _Layout:
        try:
            variables = variables_for(definition, step.references, self._state, self._services)
            layout = _Layout(variables)
            skip = flow.decide(definition, step, self._state)
            if skip is None and not by_item(step) and not holds(step, variables):
                skip = flow.Skip(flow.WHEN)
            if skip is not None:
                layout.reason = skip.reason
            elif step.each is not None:
                layout.items = items_of(step, variables, added)
                layout.indices, layout.reasons = self._positions(definition, step, layout)
        except (PermanentError, KeyError) as error:
            return _Layout({}, error=f"fails: {error.message if isinstance(error, PermanentError) else error}")
        return layout

    def _positions(
        self, definition: Definition, step: ResolvedStep, layout: _Layout
    ) -> tuple[list[int], dict[int, str]]:
        kept_back = flow.kept_back(definition, step, self._state, len(layout.items))
        reasons: dict[int, str] = {}
        for index, item in enumerate(layout.items):
            if item is not None and index in kept_back:
                reasons[index] = kept_back[index]
            elif item is not None and by_item(step) and not holds(step, self._work_item(layout, index)):
                reasons[index] = flow.WHEN
        return [n for n, item in enumerate(layout.items) if item is not None and n not in reasons], reasons

    def _work_item(self, layout: _Layout, index: int | None) -> Mapping[str, object]:
        if index is None or index >= len(layout.items):
            return layout.variables
        return {**layout.variables, "item": layout.items[index], "index": index}

    def _given(self, step: ResolvedStep, event: Event, index: int | None) -> None:
        """Compare what the step is given under either version."""
        if step.id not in {own.id for own in self._own.steps}:
            return
        before = self._own.step(step.id)
        for what, said, none in (("what it is given", "arguments", {}), ("what the agent is asked", "ask", None)):
            old = self._evaluated(self._own, before, getattr(before, said, none), index)
            new = self._evaluated(self._definition, step, getattr(step, said, none), index)
            self._compare(event, what, old, new)
        if step.id not in self._parts:
            compared = parts(self._own, before, self._definition, step)
            # Values without expressions are the same for all items, so they are compared once, at the first item.
            for part in (part for part in compared if not part.must_be_evaluated):
                self._tell(event, part.path, part.old, part.new)
            self._parts[step.id] = [part for part in compared if part.must_be_evaluated]
        for part in self._parts[step.id]:
            old = self._evaluated(self._own, before, part.old, index)
            new = self._evaluated(self._definition, step, part.new, index)
            # A compensation may name the output of the step, which is not there before the step has ended. Its
            # expressions are then compared as they are written.
            if all(isinstance(value, _Failure) or value is None for value in (old, new)):
                old, new = part.old, part.new
            self._tell(event, part.path, old, new)
        self.found.decisions += 1

    def _evaluated(self, definition: Definition, step: ResolvedStep, value: object, index: int | None) -> object:
        layout = self._layout(step) if definition is self._definition else self._own_layout(step)
        try:
            return evaluate(value, self._work_item(layout, index))
        except PermanentError as error:
            return _Failure(f"fails: {error.message}")

    def _own_layout(self, step: ResolvedStep) -> _Layout:
        key = f"{step.id} as it was"
        if step.each is None or key not in self._layouts:
            self._layouts[key] = self._lay_out(self._own, step)
        return self._layouts[key]

    def _compare(self, event: Event, what: str, recorded: object, today: object) -> None:
        self.found.decisions += 1
        self._tell(event, what, recorded, today)

    def _tell(self, event: Event, what: str, recorded: object, today: object) -> None:
        if recorded != today:
            place = event.step or "", event.index
            self.found.differences.append(Difference(event.version, *place, what, recorded, today))


def _whether(reason: str | None) -> str:
    return GOES_AHEAD if reason is None else f"skipped: {reason}"


_CHECKS: Mapping[str, Callable[[_Walk, ResolvedStep, Event], None]] = {
    T.STEP_EXPANDED: _Walk.expanded,
    T.STEP_EXTENDED: _Walk.extended,
    T.STEP_SKIPPED: _Walk.skipped,
    T.STEP_STARTED: _Walk.started,
    T.STEP_SUCCEEDED: _Walk.succeeded,
    T.STEP_FAILED: _Walk.failed,
}
