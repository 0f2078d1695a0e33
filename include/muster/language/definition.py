"""An automation resolved for good: what a run belongs to, named by its hash."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Literal

from muster.agents.spec import AgentSpec
from muster.language.kinds import AnyStep
from muster.language.resolved import Resolved, ResolvedPersonal, ResolvedTarget
from muster.language.resolved_step import ResolvedStep
from muster.language.shares import ResolvedContext
from muster.language.triggers import AnyTrigger
from muster.yaml_model import Usd


class ResolvedDeadline(Resolved):
    """Who is told when a run takes longer than `within` seconds."""

    within: float
    notify: tuple[ResolvedTarget, ...]


class ResolvedCheck(Resolved):
    """A query that answers no rows, or a skill that has nothing to say, when all is well."""

    name: str
    sql: str | None = None
    skill: str | None = None
    arguments: dict[str, object] = {}
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
    inputs: dict[str, dict[str, object]] = {}
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
    shared_context: ResolvedContext | None = None
    """What its steps know together."""
    settings: dict[str, object] = {}
    steps: tuple[AnyStep, ...]
    agents: dict[str, AgentSpec] = {}
    """The agents its steps and their fallbacks use, by id."""

    def step(self, step_id: str) -> ResolvedStep:
        """The step of that id; raises KeyError."""
        return self._by_id[step_id]

    def find(self, step_id: str) -> ResolvedStep | None:
        """The step of that id; None when there is none."""
        return self._by_id.get(step_id)

    @cached_property
    def _by_id(self) -> dict[str, ResolvedStep]:
        return {step.id: step for step in self.steps}

    @cached_property
    def input_schema(self) -> dict[str, object]:
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
