"""The first task of every run."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from muster.execution import Outcome, run_id
from muster.language.definition import Definition
from muster_airflow.egress import leaves
from muster_airflow.operators.base import MusterOperator


class OpenRun(MusterOperator):
    """Validates the inputs, stores the definition, writes `run.opened`.

    It runs in a task process, because only there the run's own version of the automation has been loaded.
    """

    custom_operator_name = "open"
    ui_color = "#e2e8f0"

    def __init__(self, *, definition: Definition | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._definition = definition

    @leaves
    def execute(self, context: Context) -> Any:
        """Open the run; the XCom is its inputs, as far as Airflow may know them."""
        from muster.execution import concealed
        from muster.runs import open_run
        from muster_airflow.services import run, services_in_worker

        services = services_in_worker(context)
        opening = self._opening(context)

        async def opened() -> Outcome:
            inputs = await open_run(services, opening)
            return await concealed(services, opening.run, None, Outcome(status="succeeded", output=dict(inputs)))

        return run(services, opened())

    def _opening(self, context: Context) -> Any:
        from muster.runs import Opening

        assert self._definition is not None
        dag_run, ti = context["dag_run"], context["ti"]
        return Opening(
            run=run_id(ti.dag_id, ti.run_id),
            dag_id=ti.dag_id,
            dag_run_id=ti.run_id,
            definition=self._definition,
            bundle_version=getattr(getattr(ti, "bundle_instance", None), "version", None),
            conf=dag_run.conf or {},
            started=dag_run.start_date,
            scheduled=_scheduled(dag_run),
            trigger=getattr(dag_run.run_type, "value", dag_run.run_type),
            requested_by=dag_run.triggering_user_name,
        )


def _scheduled(dag_run: Any) -> Any:
    """The times of a scheduled run (`at`, `begins`, `ends`, ISO 8601); None for a run started by anything else."""
    if getattr(dag_run.run_type, "value", dag_run.run_type) not in ("scheduled", "backfill"):
        return None
    times = {"at": dag_run.logical_date, "begins": dag_run.data_interval_start, "ends": dag_run.data_interval_end}
    return {name: None if time is None else time.isoformat() for name, time in times.items()}
