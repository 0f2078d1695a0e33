"""An automation resolved for good: what a run belongs to, named by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from muster.agents.spec import AgentSpec
from muster.language.kinds import KINDS
from muster.language.kinds.branch import ResolvedWay
from muster.language.kinds.human import ResolvedHuman
from muster.language.resolved import (
    Resolved,
    ResolvedCompensation,
    ResolvedFallback,
    ResolvedPersonal,
    ResolvedRetry,
    ResolvedTarget,
)
from muster.language.step_kind import StepKind
from muster.language.triggers import AnyTrigger
from muster.skills.index import Lane
from muster.written import Usd


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"there is no kind of step {kind}")
    return kind


class ResolvedStep(Resolved):
    """A step with everything filled in that the file left to defaults. Expressions stay as written."""

    id: str
    kind: Annotated[str, AfterValidator(_known)]
    title: str
    after: tuple[str, ...]
    """The steps it waits for; empty for a step that begins right after `open`."""
    when: bool | str | None = None
    each: list[Any] | str | None = None
    pack: int | Literal["all"] | None = None
    arguments: dict[str, Any] = {}
    """What `with` says."""
    lane: Lane
    priority: int | None = None
    pool: str | None = None
    retry: ResolvedRetry = ResolvedRetry()
    timeout: float | None = None
    """Seconds one attempt may take."""
    lock: tuple[str, ...] = ()
    """Names, or expressions that give them, of the leases it is done under."""
    fallback: ResolvedFallback | None = None
    compensate: ResolvedCompensation | None = None
    irreversible: bool = False
    skill: str | None = None
    agent: str | None = None
    """The agent's id, also when the file says `needs`."""
    others: tuple[str, ...] = ()
    """Ids of the other agents that fit what is needed, who take over while the circuit breaker of one is open."""
    ask: str | None = None
    returns: dict[str, Any] | str | None = None
    """The step's own, else the agent's."""
    human: ResolvedHuman | None = None
    notify: tuple[ResolvedTarget, ...] = ()
    branch: tuple[ResolvedWay, ...] = ()
    operator: str | None = None
    run: str | None = None
    """The automation of which it starts a run."""
    own: dict[str, Any] = {}
    """What another kind of step says, by the names that its module in `kinds/` chose."""
    references: tuple[str, ...] = ()
    """Ids of the steps its expressions use, sorted."""
    when_references: tuple[str, ...] = ()
    """Ids of the steps its `when` uses, sorted."""
    aligned_to: str | None = None
    """In a fan-out: the first step that fans out over the same list. Position n of both is the same item."""

    @property
    def of_kind(self) -> StepKind[Any]:
        """What its kind means."""
        return KINDS[self.kind]

    @property
    def asks(self) -> bool:
        """True when a person approves or rejects."""
        return self.of_kind.done_by == "people"

    @property
    def is_mapped(self) -> bool:
        """True when Airflow has a task instance for each item or pack; a fan-out in one pack is one ordinary task."""
        return self.each is not None and self.pack != "all"

    @property
    def pack_size(self) -> int:
        """How many items one of its task instances works on."""
        return self.pack if isinstance(self.pack, int) else 1

    def of_slot(self, positions: Sequence[int], slot: int) -> Sequence[int]:
        """Those of the positions with work that the task instance with this map index works on."""
        return positions[slot * self.pack_size : (slot + 1) * self.pack_size]

    @property
    def can_be_undone(self) -> bool:
        """True when it says what undoes it, or starts runs, which say so themselves."""
        return self.compensate is not None or self.of_kind.done_by == "runs"


class ResolvedDeadline(Resolved):
    """Who is told when a run takes longer than `within` seconds."""

    within: float
    notify: tuple[ResolvedTarget, ...]


class ResolvedCheck(Resolved):
    """A query that answers no rows, or a skill that has nothing to say, when all is well."""

    name: str
    sql: str | None = None
    skill: str | None = None
    arguments: dict[str, Any] = {}
    schedule: str | None = None
    """When the reconciler asks; None: each time it looks."""


class Definition(Resolved):
    """An automation, complete: nothing outside it decides what a run of it does."""

    format: Literal[1] = 1
    name: str
    title: str
    category: str
    department: str | None = None
    owner: str | None = None
    description: str | None = None
    triggers: tuple[AnyTrigger, ...] = ()
    inputs: dict[str, dict[str, Any]] = {}
    """A JSON Schema by name; one without `default` is required."""
    deadlines: tuple[ResolvedDeadline, ...] = ()
    incidents: tuple[ResolvedTarget, ...] = ()
    """Who is told when a run is stuck."""
    checks: tuple[ResolvedCheck, ...] = ()
    budget: Usd | None = None
    """The most US dollars one run may cost; None for no limit."""
    retries: int | None = None
    """The most retries that all steps of one run may use together; None for no limit."""
    personal: ResolvedPersonal | None = None
    """What of a run can be forgotten."""
    settings: dict[str, Any] = {}
    steps: tuple[ResolvedStep, ...]
    agents: dict[str, AgentSpec] = {}
    """The agents its steps and their fallbacks use, by id."""

    def step(self, step_id: str) -> ResolvedStep:
        """The step of that id; raises KeyError."""
        return self._by_id[step_id]

    @cached_property
    def _by_id(self) -> dict[str, ResolvedStep]:
        return {step.id: step for step in self.steps}

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """One JSON Schema for all inputs together; other names are refused."""
        return {
            "type": "object",
            "properties": {name: dict(schema) for name, schema in self.inputs.items()},
            "required": [name for name, schema in self.inputs.items() if "default" not in schema],
            "additionalProperties": False,
        }

    def canonical_json(self) -> str:
        """The one way to write this definition: keys sorted, no spaces, only what differs from the defaults.

        `Definition.model_validate_json` reads it back to an equal definition.
        """
        # Leaving defaults out keeps a definition's hash when a later version adds a field.
        data = {"format": self.format, **self.model_dump(mode="json", exclude_defaults=True)}
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON in hexadecimal: the version a run belongs to."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()
