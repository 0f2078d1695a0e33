"""What steps may not be called, because Airflow or Muster would take one thing for another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from muster.language.explain import Located
from muster.language.problems import Problem
from muster.language.reading import Path
from muster.language.steps import StepBase, WorkStep

RESERVED = frozenset({"open", "close", "unwind"})
"""Ids of Muster's own tasks, which no step may have."""


def check_ids(steps: Sequence[StepBase], document: Located) -> Iterator[Problem]:
    """One problem for each id that stands for something else already."""
    ids = [step.id for step in steps]
    mapped = {step.id for step in steps if _is_mapped(step)}
    for position, name in enumerate(ids):
        path: Path = ("steps", position, "id")
        fan_out, item = _as_item(name)
        if name in RESERVED:
            remedy = f"Give the step another one, such as `{name}_it`."
            yield document.problem(f"`{name}` is a name Muster uses itself", path, suggestion=remedy)
        elif name in ids[:position]:
            first = document.problem("", ("steps", ids.index(name), "id"))
            message = f"there are two steps `{name}`; the first is in line {first.line}"
            yield document.problem(message, path, suggestion="Rename one of them.")
        elif fan_out in mapped:
            message = f"`{name}` is also what Airflow calls item {item} of the fan-out `{fan_out}`"
            yield document.problem(message, path, suggestion="Rename one of the two steps.")


def _is_mapped(step: StepBase) -> bool:
    packed_whole = isinstance(step, WorkStep) and step.pack == "all"
    return step.fans_out and not packed_whole


def _as_item(name: str) -> tuple[str, str]:
    """The fan-out and the item that Airflow joins to this name; empty when it joins none to it."""
    fan_out, _, item = name.rpartition("_")
    return (fan_out, item) if item.isdigit() and item == str(int(item)) else ("", "")
