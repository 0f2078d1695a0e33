"""XComs pushed from a trigger: for people who look in the UI, and for the length of a fan-out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from muster.redaction import redact_data

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

LARGEST = 48_000
"""Characters of JSON shown in the UI; longer outputs are shown by their shape, the log has them whole."""


async def push_from_trigger(ti: RuntimeTaskInstanceProtocol, value: Any, *, mapped_length: int | None = None) -> None:
    """Push `value` as the task's return value.

    A trigger's own `xcoms` are encoded twice and record no map length, so this speaks the
    protocol that workers speak.
    """
    from airflow.sdk.execution_time.comms import SetXCom
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    await SUPERVISOR_COMMS.asend(
        SetXCom(
            key="return_value",
            value=shown(value),
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index if ti.map_index is not None else -1,
            mapped_length=mapped_length,
        )
    )


def shown(value: Any) -> Any:
    """`value`, without secrets, when it is small enough to show, else what it is."""
    value = redact_data(value)
    text = json.dumps(value)
    if len(text) <= LARGEST:
        return value
    kind = f"{len(value)} items" if isinstance(value, list | dict) else type(value).__name__
    return {"too_large_to_show": kind, "characters": len(text)}
