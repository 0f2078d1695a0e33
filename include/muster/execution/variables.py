"""What the expressions of a step may name."""

from __future__ import annotations

from typing import Any

from muster.agents.types import hydrate
from muster.events.state import RunState, StepState
from muster.execution.services import Services
from muster.language.definition import Definition, ResolvedStep


def variables_for(
    definition: Definition, step: ResolvedStep, state: RunState, services: Services
) -> dict[str, Any]:
    """The variables of `step`: `inputs`, `steps`, `settings`, `run`."""
    return {
        "inputs": state.inputs,
        "settings": definition.settings,
        "run": {
            "id": state.run,
            "automation": state.automation,
            "requested_by": state.requested_by,
            "opened_at": state.opened_at,
        },
        "steps": {name: _hydrated(state.step(name), services) for name in sorted(step.references)},
    }


def _hydrated(result: StepState, services: Services) -> Any:
    """A step's output with its money and dates as such."""
    if not result.is_fanout:
        return hydrate(result.output_type, result.output, site=services.site)
    return [
        None if item is None else hydrate(result.output_type, item, site=services.site)
        for item in result.output or []
    ]
