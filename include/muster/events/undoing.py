"""What a run undoes, and where that has stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IRREVERSIBLE = "Irreversible"
"""The class of the error with which undoing stops before what nothing can undo."""


@dataclass(frozen=True, slots=True)
class Unwinding:
    """What a run undoes, and why."""

    reason: str
    pieces: Mapping[str, list[int | None]]
    """Positions by step; None stands for a step outside a fan-out."""
    epoch: int


@dataclass(frozen=True, slots=True)
class Stuck:
    """Where undoing has stopped."""

    step: str
    index: int | None
    error: Mapping[str, Any]
    epoch: int
    irreversible: Mapping[str, list[str]] = field(default_factory=dict)
    """What nothing can undo, where it stopped before that: steps by run, its own and those it has asked for."""
