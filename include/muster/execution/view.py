"""A run as one step sees it: its definition, and what the log says so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from muster.bounded_cache import BoundedCache
from muster.errors import MusterError
from muster.events.keys import OPENED
from muster.events.model import Event, EventType
from muster.events.payloads.runs import RunOpened
from muster.events.state import RunState, fold
from muster.events.structure import seal_data
from muster.execution.flow import ancestors
from muster.execution.references import StepNotInScope, WorkRef
from muster.execution.services import Services
from muster.execution.variables import variables_for
from muster.execution.workspaces import earlier_workspace_of, workspace_of
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.redaction import learn_settings

_definitions: BoundedCache[str, Definition] = BoundedCache(128)
_performed_by: BoundedCache[tuple[str, int, str, int], str] = BoundedCache(512)
"""By execution of a run, the hash of its definition: an order may change it before the execution begins, not after."""
_opened: BoundedCache[tuple[str, str], Event] = BoundedCache(256)


class NeverOpened(MusterError):
    """The log has no `run.opened` of the run, so nothing was done for it: a person triggers it again."""

    repeats_data = False

    def __init__(self, run: str) -> None:
        super().__init__(f"Run {run} was never opened.", remedy="Trigger it again; nothing was done for it.")


@dataclass(frozen=True)
class RunView:
    """A run up to one moment. Immutable, so that many items of a fan-out may share it."""

    id: str
    definition: Definition
    opened: Event
    """The run's first event without data that may be personal; `state` has those."""
    events: Sequence[Event]
    folded: RunState | None = None
    """The state, where it is of more events than these."""

    @property
    def requested_by(self) -> str | None:
        """The name of the user who asked for the run; None when nobody did."""
        return RunOpened.of(self.opened).requested_by

    @cached_property
    def state(self) -> RunState:
        """The fold of the events this view was loaded with."""
        return fold(self.events) if self.folded is None else self.folded

    def for_items(self, step: str) -> RunView:
        """The same state, with the events that the items of a step look into: its own, and those about the run.

        Whoever has laid out a list keeps this one: of the events of other steps, the state holds what counts.
        """
        own = [event for event in self.events if event.step in (None, step)]
        return replace(self, events=own, folded=self.state)

    @cached_property
    def workspaces(self) -> Mapping[str, str]:
        """The runs whose files this run may read, by folder name: itself, and the known runs that it has asked for."""
        # The names of today come last and win: an earlier name could stand for several runs.
        runs = (self.id, *self.state.children)
        return {earlier_workspace_of(Path(), run).name: run for run in reversed(runs)} | {
            workspace_of(Path(), run).name: run for run in runs
        }

    def as_of(self, epoch: int) -> RunState:
        """The state at the end of one execution of the run; later executions may have other outputs."""
        if (state := self._as_of.get(epoch)) is None:
            later = next((event for event in self.events if event.epoch > epoch), None)
            earlier = (event for event in self.events if later is not None and event.version < later.version)
            state = self._as_of[epoch] = self.state if later is None else fold(earlier)
        return state

    @cached_property
    def _as_of(self) -> dict[int, RunState]:
        return {}

    def events_of(self, type_: EventType, step: str, index: int | None = None) -> Sequence[Event]:
        """The events of a type about a step as a whole, or about one of its items."""
        return self._by_work.get((type_, step, index), ())

    @cached_property
    def _by_work(self) -> Mapping[tuple[str, str, int | None], Sequence[Event]]:
        # Grouped once for all items: each of 10,000 items would else look through the events of all the others.
        by_work = defaultdict[tuple[str, str, int | None], list[Event]](list)
        for event in self.events:
            if event.step is not None:
                by_work[event.type, event.step, event.index].append(event)
        return by_work

    def variables(self, step: ResolvedStep, services: Services) -> dict[str, object]:
        """What the expressions of `step` may name, `item` and `index` aside."""
        return variables_for(self.definition, step.references, self.state, services)


async def load(services: Services, ref: WorkRef, *, for_items: bool = False) -> tuple[RunView, ResolvedStep]:
    """The events and the definition that one step of a run needs, and the step itself.

    Args:
        for_items: Keep only what `RunView.for_items` keeps, so that the events of other steps are never all in memory.

    Raises:
        NeverOpened: the run was never opened.
        StepNotInScope: the version that the run is performed by has no such step; nothing is written.
    """
    run, opened = ref.run, await _opening(services, ref.run)
    definition = await definition_of(services, run, ref.epoch)
    if (step := definition.find(ref.step)) is None:
        # Airflow has another version of the Dag than the run: a person cleared the task on the latest version by hand.
        raise StepNotInScope(f"The version of {definition.name} that {run} is performed by has no step {ref.step}.")
    needed = {step.id, *step.after, *step.references}
    # Also all questions and branches further up: a rejection there, or a branch not taken, may skip this step.
    needed.update(before.id for before in ancestors(definition, step) if before.asks or before.chooses)
    read = services.log.aread(run, steps=needed)
    if not for_items:
        return RunView(run, definition, opened, [event async for event in read]), step
    # Folded as they come, page by page: between two pages other work of the event loop has its turn.
    state, own = RunState(), list[Event]()
    async for event in read:
        state.apply(event)
        own += [event] if event.step in (None, step.id) else []
    return RunView(run, definition, opened, own, state), step


async def load_all(services: Services, run: str) -> RunView:
    """The whole run, with the events of all steps.

    Raises:
        NeverOpened: the run was never opened.
    """
    opened = await _opening(services, run)
    events = [event async for event in services.log.aread(run)]
    return RunView(run, await definition_of(services, run), opened, events)


async def bundle_version(services: Services, run: str) -> str | None:
    """The version of the Dag bundle that a run is performed by; None when the run has none, or is not opened yet."""
    return (await services.lives.submit(run, None)).bundle_version


async def definition_of(services: Services, run: str, epoch: int | None = None) -> Definition:
    """The definition of a run: the one it was opened with, or the one that a person's order has it go on with.

    Args:
        epoch: The execution that asks, whose definition stays the same until its end; None asks the log each time.

    Raises:
        NeverOpened: the run was never opened.
    """
    # `sessions` changes with each new connection. A standby that took over may lack the last events, and with them the
    # order that named the definition which is cached here.
    key = None if epoch is None else (services.database.dsn, services.database.sessions, run, epoch)
    if key is None or (name := _performed_by.get(key)) is None:
        name = (await services.lives.submit(run, None)).definition
        if name is None:
            raise NeverOpened(run)
        if key is not None:
            _performed_by[key] = name
    # By hash, so an entry never changes and all runs of a version share it.
    if (definition := _definitions.get(name)) is None:
        definition = Definition.model_validate_json(await services.definitions.aget(name))
        learn_settings(definition.settings)
        _definitions[name] = definition
    return definition


async def _opening(services: Services, run: str) -> Event:
    """The run's first event without personal data; cached, because it never changes."""
    key = (services.database.dsn, run)
    if (opened := _opened.get(key)) is None:
        events = await services.log.aunder_keys(run, [OPENED])
        if not events:
            raise NeverOpened(run)
        event = events[OPENED]
        # Personal data is left out: in this cache it would still be there after `muster forget`.
        opened = _opened[key] = replace(event, data=seal_data(event.type, event.data, lambda value: None))
    return opened
