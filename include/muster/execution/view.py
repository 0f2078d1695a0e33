"""A run as one step sees it: its definition, and what the log says so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from muster.errors import MusterError
from muster.events.keys import OPENED
from muster.events.model import Event, EventType
from muster.events.payloads.runs import RunOpened
from muster.events.state import RunState, fold
from muster.events.structure import seal_data
from muster.execution.flow import ancestors
from muster.execution.services import Services, earlier_workspace_of, workspace_of
from muster.execution.variables import variables_for
from muster.kept import Kept
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.redaction import learn_settings

_definitions: Kept[str, Definition] = Kept(128)
_opened: Kept[tuple[str, str], Event] = Kept(256)


class NeverOpened(MusterError):
    """Nothing is known of the run: nothing was done for it."""

    repeats_data = False


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


async def load(services: Services, run: str, step_id: str) -> tuple[RunView, ResolvedStep]:
    """The run as far as `step_id` needs to know it.

    Raises:
        MusterError: the run was never opened.
    """
    opened = await _opening(services, run)
    definition = await _definition(services, opened)
    step = definition.step(step_id)
    needed = {step.id, *step.after, *step.references}
    needed.update(before.id for before in ancestors(definition, step) if before.asks or before.chooses)
    events = [event async for event in services.log.aread(run, steps=needed)]
    return RunView(run, definition, opened, events), step


async def load_all(services: Services, run: str) -> RunView:
    """The whole run."""
    opened = await _opening(services, run)
    events = [event async for event in services.log.aread(run)]
    return RunView(run, await _definition(services, opened), opened, events)


async def definition_of(services: Services, run: str) -> Definition:
    """The definition a run belongs to.

    Raises:
        MusterError: the run was never opened.
    """
    return await _definition(services, await _opening(services, run))


async def bundle_version(services: Services, run: str) -> str | None:
    """The version of the Dag bundle that a run was opened with; None when it has none, or is not opened yet."""
    try:
        version = RunOpened.of(await _opening(services, run)).bundle_version
    except NeverOpened:
        return None
    return version


async def _definition(services: Services, opened: Event) -> Definition:
    """The run's own definition, kept in memory because it never changes."""
    name = RunOpened.of(opened).definition
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
            raise NeverOpened(f"Run {run} was never opened.", remedy="Trigger it again; nothing was done for it.")
        event = found[OPENED]
        opened = _opened[key] = replace(event, data=seal_data(event.type, event.data, lambda value: None))
    return opened
