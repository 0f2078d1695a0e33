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
from muster.execution.services import Services, earlier_workspace_of, workspace_of
from muster.execution.variables import variables_for
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.redaction import learn_settings

_definitions: BoundedCache[str, Definition] = BoundedCache(128)
_performed_by: BoundedCache[tuple[str, int, str, int], str] = BoundedCache(512)
"""The hash of what an execution of a run is performed by: it was ordered before that began, and stays."""
_opened: BoundedCache[tuple[str, str], Event] = BoundedCache(256)


class NeverOpened(MusterError):
    """Nothing is known of the run: nothing was done for it."""

    repeats_data = False

    def __init__(self, run: str) -> None:
        super().__init__(f"Run {run} was never opened.", remedy="Trigger it again; nothing was done for it.")


@dataclass(frozen=True)
class RunView:
    """A run up to one moment. Immutable, so that many items of a fan-out may share it."""

    id: str
    definition: Definition
    opened: Event
    """Its first event, without what may be about somebody: that is in `state`."""
    events: Sequence[Event]

    @property
    def requested_by(self) -> str | None:
        """The name of the user who asked for it; None when nobody did."""
        return RunOpened.of(self.opened).requested_by

    @cached_property
    def state(self) -> RunState:
        """The fold of the events this view was loaded with."""
        return fold(self.events)

    @cached_property
    def workspaces(self) -> Mapping[str, str]:
        """By folder the runs whose files it may read: itself, and those it has asked for, so far as known."""
        runs = (self.id, *self.state.children)
        return {earlier_workspace_of(Path(), run).name: run for run in reversed(runs)} | {
            workspace_of(Path(), run).name: run for run in runs
        }

    def as_of(self, epoch: int) -> RunState:
        """The state at the end of one execution of the run: what was done again since may have given something else."""
        if (found := self._as_of.get(epoch)) is None:
            later = next((event for event in self.events if event.epoch > epoch), None)
            earlier = (event for event in self.events if later is not None and event.version < later.version)
            found = self._as_of[epoch] = self.state if later is None else fold(earlier)
        return found

    @cached_property
    def _as_of(self) -> dict[int, RunState]:
        return {}

    def events_of(self, type_: EventType, step: str, index: int | None = None) -> Sequence[Event]:
        """The events of a type about a step as a whole, or about one of its items."""
        return self._by_work.get((type_, step, index), ())

    @cached_property
    def _by_work(self) -> Mapping[tuple[str, str, int | None], Sequence[Event]]:
        # Looked through once for all items: each of 10,000 would look through what all of them did.
        found = defaultdict[tuple[str, str, int | None], list[Event]](list)
        for event in self.events:
            if event.step is not None:
                found[event.type, event.step, event.index].append(event)
        return found

    def variables(self, step: ResolvedStep, services: Services) -> dict[str, object]:
        """What the expressions of `step` may name, `item` and `index` aside."""
        return variables_for(self.definition, step.references, self.state, services)


async def load(services: Services, ref: WorkRef) -> tuple[RunView, ResolvedStep]:
    """The run as far as one of its steps needs to know it.

    Raises:
        MusterError: the run was never opened.
    """
    run, opened = ref.run, await _opening(services, ref.run)
    definition = await definition_of(services, run, ref.epoch)
    if (step := definition.find(ref.step)) is None:
        # Airflow performs another version than the run does: a person has had it cleared on the latest one.
        raise StepNotInScope(f"The version of {definition.name} that {run} is performed by has no step {ref.step}.")
    needed = {step.id, *step.after, *step.references}
    # Questions and branches further up as well: what was rejected or not taken there counts for this step.
    needed.update(before.id for before in ancestors(definition, step) if before.asks or before.chooses)
    events = [event async for event in services.log.aread(run, steps=needed)]
    return RunView(run, definition, opened, events), step


async def load_all(services: Services, run: str) -> RunView:
    """The whole run."""
    opened = await _opening(services, run)
    events = [event async for event in services.log.aread(run)]
    return RunView(run, await definition_of(services, run), opened, events)


async def bundle_version(services: Services, run: str) -> str | None:
    """The version of the Dag bundle that a run is performed by; None when it has none, or is not opened yet."""
    return (await services.lives.submit(run, None)).bundle_version


async def definition_of(services: Services, run: str, epoch: int | None = None) -> Definition:
    """What a run is performed by: what it was opened with, or what a person has had it go on with.

    Args:
        epoch: The execution that asks, for which it is the same until its end; None asks the log.

    Raises:
        NeverOpened: the run was never opened.
    """
    # A server that took over may lack the last events: what was seen on another connection is not believed.
    key = None if epoch is None else (services.database.dsn, services.database.sessions, run, epoch)
    if key is None or (name := _performed_by.get(key)) is None:
        name = (await services.lives.submit(run, None)).definition
        if name is None:
            raise NeverOpened(run)
        if key is not None:
            _performed_by[key] = name
    if (found := _definitions.get(name)) is None:
        found = Definition.model_validate_json(await services.definitions.aget(name))
        learn_settings(found.settings)
        _definitions[name] = found
    return found


async def _opening(services: Services, run: str) -> Event:
    """The run's first event, its structure kept in memory because that never changes."""
    key = (services.database.dsn, run)
    if (opened := _opened.get(key)) is None:
        found = await services.log.aunder_keys(run, [OPENED])
        if not found:
            raise NeverOpened(run)
        event = found[OPENED]
        # What may be about somebody is left out of the cache: it would outlive their being forgotten.
        opened = _opened[key] = replace(event, data=seal_data(event.type, event.data, lambda value: None))
    return opened
