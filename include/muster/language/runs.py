"""What must hold between an automation and those it runs; every breach is located."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from muster.language.definition import Definition
from muster.language.explain import Located
from muster.language.kinds.run import ResolvedRun
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path

Others = Callable[[str], "Definition | bool"]
"""The definition of the automation of a name; True for one that is not valid, False where there is none."""

AT_ONCE = 100
"""The most runs of one automation that Airflow runs at once; further ones are queued.

A run that waits for a person counts as running, so Airflow's default of 16 would block new runs.
"""


def runs(definition: Definition) -> Iterator[tuple[int, ResolvedRun]]:
    """The steps that run another automation: position, and step."""
    for position, step in enumerate(definition.steps):
        if isinstance(step, ResolvedRun):
            yield position, step


def check_runs(
    definition: Definition, document: Located, others: Others, names: Callable[[], Iterable[str]]
) -> Iterator[Problem]:
    """What is wrong with an automation's `run` steps; `names` is called only when an automation is not found."""
    for position, step in runs(definition):
        path: Path = ("steps", position)
        name = step.run
        other = others(name)
        if other is False:
            suggestion = did_you_mean(name, names()) or "`muster list` shows them all."
            yield document.problem(f"there is no automation `{name}`", (*path, "run"), suggestion=suggestion)
        elif (around := _circle(definition.name, name, others)) is not None:
            message = f"these automations run each other: {' → '.join([definition.name, *around])}"
            yield document.problem(message, (*path, "run"), suggestion="A run would never end; leave one of them out.")
        elif isinstance(other, Definition):
            yield from _inputs(step, other, path, document)


def _circle(start: str, first: str, others: Others) -> list[str] | None:
    """The names from `first` on that lead back to `start`; None when none do."""
    ways: dict[str, list[str]] = {first: [first]}
    waiting = [first]
    while waiting:
        name = waiting.pop(0)
        if name == start:
            return ways[name]
        other = others(name)
        for _, step in runs(other) if isinstance(other, Definition) else ():
            if step.run not in ways:
                ways[step.run] = [*ways[name], step.run]
                waiting.append(step.run)
    return None


def _inputs(step: ResolvedRun, other: Definition, path: Path, document: Located) -> Iterator[Problem]:
    known: Mapping[str, object] = other.inputs
    for name in step.arguments:
        if name not in known:
            suggestion = did_you_mean(name, known) or f"Its inputs are {', '.join(known) or 'none'}."
            message = f"the automation `{other.name}` has no input `{name}`"
            yield document.problem(message, (*path, "with", name), key=True, suggestion=suggestion)
    missing = [name for name, schema in other.inputs.items() if "default" not in schema and name not in step.arguments]
    if missing:
        words = ", ".join(f"`{name}`" for name in missing)
        suggestion = f"Give it in `with`: `with: {{ {missing[0]}: … }}`."
        yield document.problem(f"the automation `{other.name}` needs {words}", (*path, "run"), suggestion=suggestion)
