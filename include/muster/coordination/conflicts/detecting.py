"""Detects conflicts after work is done: resources that several agents changed in different ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from muster.coordination.conflicts.model import Conflict, ConflictKind, Side
from muster.coordination.merging import same


@dataclass(frozen=True)
class Changes:
    """What one agent left behind."""

    agent: str
    values: Mapping[str, object]
    """By resource the value it left: of what it changed, or of all that it had. None: it removed the resource."""
    at: datetime | None = None
    """When, with a zone."""


def detect_conflicts(kind: ConflictKind, before: Mapping[str, object], changes: Iterable[Changes]) -> list[Conflict]:
    """The conflicts among what agents left behind, by resource.

    Args:
        before: What the agents began with, by resource.

    Returns:
        A conflict for each resource that at least two agents changed, unless all changed it to the same value. A value
        that is as before is no change, and no side.
    """
    sides: dict[str, list[Side]] = {}
    for change in changes:
        for resource, value in change.values.items():
            if not same(value, before.get(resource)):
                sides.setdefault(resource, []).append(Side(change.agent, value, change.at))
    return [
        Conflict(kind, resource, tuple(changed), before.get(resource))
        for resource, changed in sorted(sides.items())
        if any(not same(side.value, changed[0].value) for side in changed)
    ]
