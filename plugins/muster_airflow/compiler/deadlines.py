"""`deadlines` as Airflow deadline alerts, counted from when the run was queued."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference

if TYPE_CHECKING:
    from muster.language.definition import Definition


def deadline_alerts(definition: Definition) -> list[DeadlineAlert] | None:
    """One alert for each deadline; None when there is none."""
    from muster_airflow.notifiers import MusterNotifier

    alerts = [
        DeadlineAlert(
            name=f"{definition.automation} within {deadline.within:g} s",
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=deadline.within),
            callback=AsyncCallback(MusterNotifier, kwargs={"notices": deadline.notices, "within": deadline.within}),
        )
        for deadline in definition.deadlines
    ]
    return alerts or None
