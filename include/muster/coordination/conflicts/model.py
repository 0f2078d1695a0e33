"""A conflict, what can be used to resolve it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from muster.coordination.merging import Ballots, Difference


class ConflictKind(StrEnum):
    """What a conflict is about."""

    FILES = "files"
    """Values are bytes; None where there is no file."""
    RECORDS = "records"
    """Values are JSON-like."""
    CONTRACTS = "contracts"
    """API contracts: what one part promises to another. Values are JSON-like or texts."""
    DEPENDENCIES = "dependencies"
    """Values are PEP 440 specifiers, such as `>=2,<3`."""
    NAMES = "names"
    """The resource is a name, and values are the different things that agents gave it to."""
    FACTS = "facts"
    """Values are statements about the same matter that contradict each other."""


class Decider(StrEnum):
    """Who decides a conflict that no rule resolves."""

    JUDGE = "judge"
    """One agent."""
    QUORUM = "quorum"
    """Several agents, by vote."""
    HUMAN = "human"


@dataclass(frozen=True)
class Side:
    """What one agent made of the resource."""

    agent: str
    value: object
    at: datetime | None = None
    """When it was written, with a zone."""


@dataclass(frozen=True)
class Conflict:
    """Two or more agents changed one resource in different ways."""

    kind: ConflictKind
    resource: str
    sides: tuple[Side, ...]
    base: object = None
    """What was there before."""


Check: TypeAlias = Callable[[Conflict, object], str | None]
"""Looks at a value before it counts as the resolution. Returns what is wrong with it, or None; what it raises goes to
whoever called `resolve`, and the conflict stays as it is."""


@dataclass(frozen=True, kw_only=True)
class ResolutionContext:
    """What is known beside the conflict itself."""

    checks: Mapping[str, Check] = field(default_factory=dict)
    """The checks that rules can name: `security_scan`, for one."""
    versions: Sequence[str] = ()
    """The versions there are of a dependency."""
    taken_names: Collection[str] = ()
    """Names that are in use."""
    ballots: Ballots | None = None
    """A vote that has begun; its options are the names of the agents whose values they are."""
    count: int = 1
    """How many conflicts of this kind there are, this one included: what `person_from` of a rule is compared with."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The conflict is over; `conflict` keeps all sides."""

    conflict: Conflict
    value: object
    """What all agents go on with; for names, the new name by agent."""
    strategy: str
    why: tuple[str, ...]
    """One sentence each: why the strategies before it did not resolve the conflict, then why this one did."""


@dataclass(frozen=True, kw_only=True)
class HandedOn:
    """Somebody has to decide; `conflict` keeps all sides."""

    conflict: Conflict
    to: Decider
    why: tuple[str, ...]
    """One sentence each: why no strategy resolved the conflict."""
    differences: tuple[Difference, ...] = ()
    """Where the sides differ, as far as a strategy could say."""
    proposal: Resolved | None = None
    """What would count if a person approves it."""


Resolution: TypeAlias = Resolved | HandedOn
