"""Checks of `triggers`: times, zones, and whether a run can start without a person's inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from muster.files import UnusablePath, path_named
from muster.language.automation import Automation, FilesTrigger, ScheduleTrigger
from muster.language.explain import Located
from muster.language.expressions import ExpressionError, ExpressionSyntaxError, evaluate
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path
from muster.language.resolve import default_input

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
"""The names of schedules that Airflow knows."""


def check(automation: Automation, document: Located, settings: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything wrong with an automation's triggers; `settings` are those that it is given."""
    schedules = 0
    for position, trigger in enumerate(automation.triggers):
        path: Path = ("triggers", position)
        if isinstance(trigger, ScheduleTrigger):
            schedules += 1
            yield from _schedule(trigger, path, document, schedules)
            yield from _startable(automation, None, path, document)
        elif isinstance(trigger, FilesTrigger):
            yield from _folder(trigger.files.path, settings, (*path, "files", "path"), document)
            yield from _files(trigger, automation, (*path, "files"), document)


def _schedule(trigger: ScheduleTrigger, path: Path, document: Located, count: int) -> Iterator[Problem]:
    if count > 1:
        yield document.problem("an automation has one schedule", path, suggestion="Write the times as one expression.")
    yield from check_schedule(trigger.schedule, (*path, "schedule"), document)
    if not _zone_exists(trigger.timezone):
        message = f"there is no time zone `{trigger.timezone}`"
        yield document.problem(message, (*path, "timezone"), suggestion=did_you_mean(trigger.timezone, _zones()))


def check_schedule(schedule: str, path: Path, document: Located) -> Iterator[Problem]:
    """What is wrong with the times that a schedule names."""
    if schedule.startswith("@"):
        if schedule not in PRESETS:
            suggestion = did_you_mean(schedule, PRESETS) or f"There are {', '.join(PRESETS)}."
            yield document.problem(f"there is no schedule `{schedule}`", path, suggestion=suggestion)
    elif mistake := cron_mistake(schedule):
        yield document.problem(mistake, path)


def _folder(named: str, settings: Mapping[str, Any], path: Path, document: Located) -> Iterator[Problem]:
    try:
        folder = str(evaluate(named, {"settings": settings}))
    except (ExpressionError, ExpressionSyntaxError):
        return  # What is wrong with it is said of every expression.
    try:
        path_named(folder)
    except UnusablePath as error:
        yield document.problem(error.message, path, suggestion=error.remedy)
    except ValueError:
        # Only where it is: a whole URI may hold a password.
        message = f"no folder of `{folder.partition(':')[0]}://` can be watched, only one on this machine"
        remedy = "Write its path, or `file:///srv/letters`; what is elsewhere can be mounted as a folder."
        yield document.problem(message, path, suggestion=remedy)


def _files(trigger: FilesTrigger, automation: Automation, path: Path, document: Located) -> Iterator[Problem]:
    name = trigger.files.input or default_input(automation)
    if name is None:
        message = "which input gets the files is not clear: name an array in `input`"
        yield document.problem(message, path)
        return
    schema = automation.inputs.get(name)
    if schema is None:
        suggestion = did_you_mean(name, automation.inputs)
        yield document.problem(f"there is no input `{name}`", (*path, "input"), suggestion=suggestion)
        return
    if schema.get("type") != "array":
        yield document.problem(f"the input `{name}` is not an array", (*path, "input"))
    elif not _takes_texts(schema.get("items")):
        message = f"the input `{name}` gets the URIs of files, and its `items` are no texts"
        yield document.problem(message, ("inputs", name, "items"), suggestion="Write `items: {type: string}`.")
    yield from _startable(automation, name, path, document)


def _takes_texts(items: Any) -> bool:
    kinds = items.get("type", "string") if isinstance(items, dict) else "string"
    return "string" in ([kinds] if isinstance(kinds, str) else kinds)


def _startable(automation: Automation, given: str | None, path: Path, document: Located) -> Iterator[Problem]:
    for name, schema in automation.inputs.items():
        if name != given and "default" not in schema:
            message = f"this trigger cannot give the input `{name}`"
            yield document.problem(message, path, suggestion=f"Give `{name}` a `default`.")


@lru_cache(maxsize=1024)
def cron_mistake(expression: str) -> str | None:
    """What is wrong with a cron expression of five fields, or None."""
    # Imported late: an automation without a schedule does not pay for it.
    from croniter import CroniterError, croniter  # type: ignore[import-untyped]

    if len(fields := expression.split()) != 5:
        return f"a schedule has five fields (minute, hour, day, month, weekday), not {len(fields)}"
    if not re.fullmatch(r"[0-9A-Za-z*/,\- #?]+", expression):
        return f"`{expression}` is not a cron expression"
    try:
        croniter(expression).get_next()
    except (CroniterError, ValueError) as error:
        return f"`{expression}` is not a cron expression: {error}"
    return None


@lru_cache(maxsize=256)
def _zone_exists(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones

    return frozenset(available_timezones())
