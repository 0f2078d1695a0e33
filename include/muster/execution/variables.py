"""What the expressions of a step may name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from muster.agents.types import hydrate
from muster.events.sealing import is_marker
from muster.events.state import RunState
from muster.events.work import StepState
from muster.language.answers import answered, answered_below
from muster.language.definition import Definition
from muster.language.forgotten import Forgotten
from muster.language.resolved_step import ResolvedStep
from muster.language.triggers.schedule import ResolvedSchedule


class Site(Protocol):
    """What hydrating needs of the services."""

    @property
    def site(self) -> Path | None:
        """Folder of the site's own skills, whose types outputs may have."""


class Variables(Mapping[str, object]):
    """Variables that are worked out when the first is asked for: it takes the site's skills, an answer does not."""

    def __init__(self, work_out: Callable[[], Mapping[str, object]]) -> None:
        self._work_out = work_out

    @cached_property
    def _found(self) -> Mapping[str, object]:
        return self._work_out()

    def ensure_worked_out(self) -> None:
        """Work them out unless they are: raises what working them out raises."""
        _ = self._found

    def __getitem__(self, name: str) -> object:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def variables_for(definition: Definition, names: Iterable[str], state: RunState, services: Site) -> dict[str, object]:
    """The variables of an expression that refers to the steps of these names: `inputs`, `steps`, `settings`, `run`."""
    # All inputs of a run are forgotten together, but for those that were null. To look through outputs takes time.
    may_be_forgotten = not state.inputs or any(map(is_marker, state.inputs.values()))
    as_read: Callable[[Any], Any] = with_forgotten if may_be_forgotten else lambda value: value
    return {
        "inputs": as_read(state.inputs),
        "settings": definition.settings,
        "run": {
            "id": state.id,
            "automation": state.automation,
            "requested_by": state.requested_by,
            "opened_at": state.opened_at,
            **_times(definition, state),
        },
        "steps": {name: _seen(definition.step(name), state.step(name), services, as_read) for name in sorted(names)},
    }


def with_forgotten(value: object) -> object:
    """The value with all in it that was forgotten as expressions know it."""
    if isinstance(value, list):
        return [with_forgotten(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    return Forgotten(value) if is_marker(value) else {name: with_forgotten(inner) for name, inner in value.items()}


def _times(definition: Definition, state: RunState) -> dict[str, date | None]:
    """The times of the schedule that has started a run, where its clocks are; else when it was opened.

    They are the same in every attempt, and in another execution of the run.
    """
    zones = (each.timezone for each in definition.triggers if isinstance(each, ResolvedSchedule))
    zone = ZoneInfo(next(zones, None) or "UTC")
    said = state.scheduled or {}
    times = (datetime.fromisoformat(text) if (text := said.get(name)) else None for name in ("at", "begins", "ends"))
    at, begins, ends = ((time or state.opened_at) for time in times)
    here = [None if time is None else time.astimezone(zone) for time in (at, begins, ends)]
    return {
        **dict(zip(("scheduled_at", "interval_start", "interval_end"), here, strict=True)),
        "today": here[0].date() if here[0] is not None else None,
    }


def _seen(step: ResolvedStep, result: StepState, services: Site, as_read: Callable[[object], object]) -> object:
    """A step's output as expressions see it: a rejection is false, although it is a mapping that says something."""
    output, name = as_read(_hydrated(result, services)), f"steps.{step.id}"
    if step.asks:
        return answered(output, name)
    return answered_below(output, name) if step.done_by == "runs" else output


def _hydrated(result: StepState, services: Site) -> object:
    """A step's output with its money and dates as such."""
    if not result.is_fan_out or result.ended_as_a_whole:
        return hydrate(result.whole.output_type, result.whole.result, services.site)
    return [_item(result, index, services) for index in range(result.length or 0)]


def _item(result: StepState, index: int, services: Site) -> object:
    item = result.items.get(index)
    return hydrate(item.output_type, item.result, services.site) if item is not None else None
