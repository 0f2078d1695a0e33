"""Compares two versions of a step part by part, and names the parts as the YAML does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from muster.language.definition import Definition
from muster.language.expressions import is_expression
from muster.language.resolved import ResolvedAgentFallback
from muster.language.resolved_step import ResolvedStep

_SHOWN = ("id", "title", "arguments", "ask", "when", "each", "branch")
"""Keys that are not compared: nothing depends on them, or they show in the decisions they lead to."""
_DERIVED = ("references", "when_references", "aligned_to")
"""Keys that follow from the others."""
_OF_AGENT = frozenset(("id", "title", "department", "skills"))
"""Keys by which an agent is found and shown, and which do not change its work."""
_WRITTEN = {"its compensate.arguments": "its compensate.with", "its fallback.arguments": "its fallback.with"}
"""Paths that differ in the YAML."""


@dataclass(frozen=True)
class Part:
    """One value that the step has in either version; None in the one that lacks it."""

    path: str
    old: object
    new: object

    @property
    def must_be_evaluated(self) -> bool:
        """True when a value is an expression: its text does not say whether the results differ."""
        return any(isinstance(value, str) and is_expression(value) for value in (self.old, self.new))


def parts(own: Definition, before: ResolvedStep, today: Definition, step: ResolvedStep) -> list[Part]:
    """Every part that decides what the step does, of the step itself and of agents that it has in both versions."""
    old, new = _step(before), _step(step)
    for agent in sorted(_agents(before) & _agents(step) & own.agents.keys() & today.agents.keys()):
        of = f"the agent {agent}'s "
        old |= _leaves(of, own.agents[agent].model_dump(mode="json", exclude={*_OF_AGENT}))
        new |= _leaves(of, today.agents[agent].model_dump(mode="json", exclude={*_OF_AGENT}))
    return [Part(path, old.get(path), new.get(path)) for path in {**old, **new}]


def _step(step: ResolvedStep) -> dict[str, object]:
    apart: dict[str, Any] = {**dict.fromkeys((*_SHOWN, *_DERIVED), True), "compensate": {"references"}}
    return dict(_leaves("its ", step.model_dump(mode="json", exclude=apart)))


def _agents(step: ResolvedStep) -> set[str]:
    return {*step.agents, *([step.fallback.agent] if isinstance(step.fallback, ResolvedAgentFallback) else ())}


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for name, part in value.items():
            below = f"{path}{name}" if path.endswith(" ") else f"{path}.{name}"
            yield from _leaves(_WRITTEN.get(below, below), part)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(f"{path}[{number}]", part)
    else:
        yield path, value
