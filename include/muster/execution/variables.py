"""What the expressions of a step may name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from muster.agents.types import hydrate
from muster.events.state import RunState
from muster.events.work import StepState
from muster.language.definition import Definition


class Site(Protocol):
    """What hydrating needs of the services."""

    @property
    def site(self) -> Path | None:
        """Folder of the site's own skills, whose types outputs may have."""


def variables_for(definition: Definition, names: Iterable[str], state: RunState, services: Site) -> dict[str, Any]:
    """The variables of an expression that refers to the steps of these names: `inputs`, `steps`, `settings`, `run`."""
    return {
        "inputs": state.inputs,
        "settings": definition.settings,
        "run": {
            "id": state.id,
            "automation": state.automation,
            "requested_by": state.requested_by,
            "opened_at": state.opened_at,
        },
        "steps": {name: _hydrated(state.step(name), services) for name in sorted(names)},
    }


def _hydrated(result: StepState, services: Site) -> Any:
    """A step's output with its money and dates as such."""
    if not result.is_fan_out or result.whole.status == "skipped":
        return hydrate(result.whole.output_type, result.output, services.site)
    return [_item(result, index, services) for index in range(result.length or 0)]


def _item(result: StepState, index: int, services: Site) -> Any:
    item = result.items.get(index)
    return hydrate(item.output_type, item.output, services.site) if item is not None else None
