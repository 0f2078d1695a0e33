"""Values that are well formed and mean nothing: a time of 0, a lock without a name, a name given twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from muster.language.automation import Automation
from muster.language.durations import parse_duration
from muster.language.explain import Located
from muster.language.problems import Problem
from muster.language.reading import Path
from muster.language.steps import WorkStep

_TIMES = {
    "timeout": "no work can be done in no time",
    "within": "nobody can keep to it",
    "every": "there would be no pause between two looks",
}


def check_vain(automation: Automation, document: Located) -> Iterator[Problem]:
    """One problem for each such value."""
    for key in ("triggers", "deadlines", "defaults", "steps"):
        yield from _no_time(document.data.get(key), (key,), document)
    for position, step in enumerate(automation.steps):
        if isinstance(step, WorkStep) and step.lock is not None and not all([step.lock, *map(str.strip, step.lock)]):
            remedy = "Name what nobody else may use meanwhile, or leave `lock` out."
            yield document.problem("`lock` names nothing", ("steps", position, "lock"), suggestion=remedy)
    names = [check.name for check in automation.checks]
    for position, name in enumerate(names):
        if name in names[:position]:
            remedy = "Rename one of them."
            yield document.problem(f"there are two checks `{name}`", ("checks", position, "name"), suggestion=remedy)


def _no_time(value: object, path: Path, document: Located) -> Iterator[Problem]:
    if isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _no_time(inner, (*path, position), document)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in _TIMES and isinstance(inner, str):
                with suppress(ValueError):
                    if parse_duration(inner) == 0:
                        yield document.problem(f"`{key}` is `{inner}`: {_TIMES[key]}", (*path, key))
            elif key != "with":
                yield from _no_time(inner, (*path, key), document)
