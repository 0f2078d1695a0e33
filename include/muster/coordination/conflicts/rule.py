"""What a rule for one kind of conflict says, and what a strategy is that such a rule names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import Field

from muster.coordination.conflicts.model import Conflict, ConflictKind, Decider, ResolutionContext
from muster.coordination.merging import Merged, Unmerged
from muster.yaml_model import Name, YamlModel


class ConflictRule(YamlModel):
    """How conflicts of one kind are resolved."""

    strategy: Name
    """What is tried first."""
    fallback: Name = "human"
    """What is tried when the strategy finds no resolution, or a check refuses it. After that a person decides."""
    checks: list[Name] = []
    """Checks that a resolution must pass before it counts; one that is not there refuses."""
    person_from: int | None = Field(default=None, ge=1)
    """From so many conflicts of this kind on, a person approves each resolution; 1: always. Default: never."""
    lists: dict[str, Name] = {}
    """For `field_wise`: lists that are merged by their elements; by its path, the key that tells them apart."""
    votes: int | None = Field(default=None, ge=1)
    """For `quorum`: how many votes decide. Default: more than half."""


@dataclass(frozen=True)
class Waiting:
    """Somebody has to decide, and has not yet."""

    on: Decider
    reason: str


Finding: TypeAlias = Merged[object] | Unmerged | Waiting
"""What a strategy finds: the value to go on with, why there is none, or who is to be asked for it."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way to resolve conflicts."""

    name: str
    place: int
    """Orders the strategies in messages and on the page."""
    kinds: frozenset[ConflictKind]
    """The kinds of conflict that it can resolve."""
    settle: Callable[[Conflict, ConflictRule, ResolutionContext], Finding]
    """What it finds, from what it is given and nothing else."""
    why: str
    """Why a value of this strategy counts, as one sentence."""
    options: frozenset[str] = frozenset()
    """Keys of a rule that say something only to this strategy."""


def fold(
    conflict: Conflict, merge: Callable[[object, object, object], Merged[Any] | Unmerged]
) -> Merged[Any] | Unmerged:
    """Merge all sides of a conflict, one after another into those before; the first that cannot be is the result."""
    merged: Merged[Any] | Unmerged = Merged(conflict.sides[0].value)
    for side in conflict.sides[1:]:
        if isinstance(merged, Unmerged):
            break
        merged = merge(conflict.base, merged.value, side.value)
    return merged
