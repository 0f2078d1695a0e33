"""`open`: the first task of every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from muster.errors import PermanentError
from muster.events.model import EventType, NewEvent
from muster.execution.services import Services
from muster.language.definition import Definition


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What Airflow knows of a run that begins."""

    run: str
    dag_id: str
    dag_run_id: str
    definition: Definition
    bundle_version: str | None
    conf: Mapping[str, Any] = field(default_factory=dict)
    trigger: str = "manual"
    """Airflow's run type: manual, scheduled, backfill, asset_triggered."""
    requested_by: str | None = None
    """The user who asked for the run; None when nobody did."""


async def open_run(services: Services, opening: Opening) -> Mapping[str, Any]:
    """Validate the inputs, store the definition, write `run.opened`; return the inputs.

    Raises:
        PermanentError: the inputs do not fit; the run is opened all the same, so that it shows why.
    """
    await services.definitions.aput(opening.definition)
    inputs = {**opening.definition.input_defaults, **_given(opening)}
    problems = opening.definition.input_problems(inputs)
    data = {
        "automation": opening.definition.automation,
        "definition": opening.definition.hash,
        "bundle_version": opening.bundle_version,
        "inputs": inputs,
        "trigger": opening.trigger,
        "requested_by": opening.requested_by,
        "dag_id": opening.dag_id,
        "dag_run_id": opening.dag_run_id,
    }
    actor = opening.requested_by or "airflow"
    event = NewEvent(type=EventType.RUN_OPENED, data=data, key="opened", actor=actor)
    stored = await services.log.aappend(opening.run, [event])
    if problems:
        raise PermanentError(
            f"The inputs do not fit {opening.definition.automation}: {'; '.join(problems)}.",
            remedy="Trigger the run again with inputs that do.",
        )
    found: Mapping[str, Any] = stored[0].data["inputs"]
    return found


def _given(opening: Opening) -> dict[str, Any]:
    """The inputs among the run's conf; Airflow and its users put other keys there as well."""
    return {name: value for name, value in opening.conf.items() if name in opening.definition.inputs}
