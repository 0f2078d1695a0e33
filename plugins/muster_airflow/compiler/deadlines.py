"""`deadlines` as Airflow deadline alerts, counted from when the run was queued."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

if TYPE_CHECKING:
    from muster.language.definition import Definition, ResolvedDeadline


def deadline_alerts(definition: Definition) -> list[DeadlineAlert] | None:
    """One alert for each deadline; None when there is none."""
    if not definition.deadlines:
        return None
    # Here, because it brings the database's client, which most automations have no use for when parsed.
    from muster_airflow.notifiers import MusterNotifier

    return [
        DeadlineAlert(
            name=f"{definition.name} within {deadline.within:g} s",
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=deadline.within),
            callback=AsyncCallback(MusterNotifier, kwargs=_notice(definition, deadline)),
        )
        for deadline in definition.deadlines
    ]


def _notice(definition: Definition, deadline: ResolvedDeadline) -> dict[str, Any]:
    """The notifier's arguments, without the keys that have nothing to say."""
    entries = []
    for target in deadline.notify:
        said = target.model_dump(include={"text", "subject"}, exclude_none=True)
        entries += [{channel: place, **said} for channel, place in target.places]
    return {"notify": entries, "subject": f"Late: {definition.title}", "within": f"{deadline.within:g} s"}
