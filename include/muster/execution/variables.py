"""The variables that the expressions of a step may use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from muster.agents.types import hydrate
from muster.events.sealing import is_marker
from muster.events.state import RunState
from muster.events.work import StepState, WorkState
from muster.language.answers import answered, answered_below
from muster.language.definition import Definition
from muster.language.forgotten import Forgotten
from muster.language.resolved_step import ResolvedStep
from muster.language.triggers.schedule import ResolvedSchedule


class Site(Protocol):
    """The part of the services that hydrating outputs needs."""

    @property
    def site(self) -> Path | None:
        """Folder of the site's own skills, whose types outputs may have."""


class Variables(Mapping[str, object]):
    """Variables that are evaluated when the first one is used.

    Evaluating them needs the site's skills, and a person's answer must count also when a skill file is broken.
    """

    def __init__(self, work_out: Callable[[], Mapping[str, object]]) -> None:
        self._work_out = work_out

    @cached_property
    def _found(self) -> Mapping[str, object]:
        return self._work_out()

    def ensure_worked_out(self) -> None:
        """Evaluate the variables unless they are; raises the error of their evaluation."""
        _ = self._found

    def __getitem__(self, name: str) -> object:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def variables_for(definition: Definition, names: Iterable[str], state: RunState, services: Site) -> dict[str, object]:
    """The variables `inputs`, `steps`, `settings` and `run` of an expression that refers to these steps."""
    # Looking through large outputs takes time, and the inputs tell whether it is needed: all inputs of a run are
    # forgotten together, except for those that were null. One that asks for nothing else tells nothing.
    given = [value for value in state.inputs.values() if value is not None]
    may_be_forgotten = not given or any(map(is_marker, given))
    return {
        "inputs": with_forgotten(state.inputs) if may_be_forgotten else state.inputs,
        "settings": definition.settings,
        "run": {
            "id": state.id,
            "automation": state.automation,
            "requested_by": state.requested_by,
            "opened_at": state.opened_at,
            **_times(definition, state),
        },
        "steps": {
            name: _seen(definition.step(name), state.step(name), services, may_be_forgotten) for name in sorted(names)
        },
    }


def with_forgotten(value: object) -> object:
    """The value with each marker of forgotten data replaced by a `Forgotten`, which expressions may not decide by."""
    if isinstance(value, list):
        return [with_forgotten(inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    return Forgotten(value) if is_marker(value) else {name: with_forgotten(inner) for name, inner in value.items()}


def _times(definition: Definition, state: RunState) -> dict[str, date | None]:
    """The times of the schedule that has started a run, in its time zone; without a schedule the time of opening."""
    # From `run.opened`, never from the clock: each attempt and each later execution of the run must see the same date.
    zones = (trigger.timezone for trigger in definition.triggers if isinstance(trigger, ResolvedSchedule))
    zone = ZoneInfo(next(zones, None) or "UTC")
    said = state.scheduled or {}
    times = (datetime.fromisoformat(text) if (text := said.get(name)) else None for name in ("at", "begins", "ends"))
    at, begins, ends = ((time or state.opened_at) for time in times)
    here = [None if time is None else time.astimezone(zone) for time in (at, begins, ends)]
    return {
        **dict(zip(("scheduled_at", "interval_start", "interval_end"), here, strict=True)),
        "today": here[0].date() if here[0] is not None else None,
    }


def _seen(step: ResolvedStep, result: StepState, services: Site, may_be_forgotten: bool) -> object:
    """A step's output as expressions see it: a rejection is false, although it is stored as a mapping."""
    output, name = _hydrated(result, services, may_be_forgotten), f"steps.{step.id}"
    if may_be_forgotten:
        output = with_forgotten(output)
    if step.asks:
        return answered(output, name)
    return answered_below(output, name) if step.done_by == "runs" else output


def _hydrated(result: StepState, services: Site, may_be_forgotten: bool) -> object:
    """A step's output with amounts and dates turned back into their types; with one entry for each item of a list."""
    if not result.is_fan_out or result.ended_as_a_whole:
        return _typed(result.whole, services, may_be_forgotten)
    items = (result.items.get(index) for index in range(result.length or 0))
    typed = [None if item is None else _typed(item, services, may_be_forgotten) for item in items]
    return result.named(typed)


def _typed(work: WorkState, services: Site, may_be_forgotten: bool) -> object:
    # A type takes no marker, or, if all of its fields have defaults, makes an object with these of one: data that
    # nobody has ever given.
    if is_marker(work.result):
        return work.result
    typed = hydrate(work.output_type, work.result, services.site)
    return _marked_as(work.result, typed) if may_be_forgotten else typed


def _marked_as(result: object, typed: object) -> object:
    """The typed form of a result, with the markers in it where they were, for example in an impersonal output."""
    if is_marker(result):
        return result
    if isinstance(result, dict) and isinstance(typed, dict):
        return {name: _marked_as(result.get(name), value) for name, value in typed.items()}
    if isinstance(result, list) and isinstance(typed, list):
        return [_marked_as(*both) for both in zip(result, typed, strict=True)]
    return typed
