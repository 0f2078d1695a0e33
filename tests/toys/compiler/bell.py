"""`bell` in Airflow: a route that rings, and a Dag beside the automation that listens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import DAG, BaseOperator, Context

from muster.language.triggers.bell import ResolvedBell
from muster_airflow.compiler.brings import Brings
from muster_airflow.egress import leaves
from muster_airflow.reference import beside

if TYPE_CHECKING:
    from fastapi import APIRouter

    from muster.language.definition import Definition


class Listen(BaseOperator):
    """Starts a run when the bell was rung."""

    def __init__(self, *, automation: str, bell: str, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.automation, self.bell = automation, bell

    @leaves
    def execute(self, context: Context) -> bool:
        from airflow.sdk.execution_time import task_runner
        from airflow.sdk.execution_time.comms import TriggerDagRun

        from muster.triggers.bell import heard

        if rung := heard(self.bell):
            asked = TriggerDagRun(dag_id=self.automation, run_id=f"bell__{context['ti'].run_id}", conf={})
            task_runner.SUPERVISOR_COMMS.send(asked)
        return rung


def _dag(definition: Definition, triggers: Sequence[ResolvedBell]) -> DAG:
    with DAG(dag_id=beside(definition.name, "bell"), schedule="* * * * *", tags=["muster"], auto_register=False) as dag:
        for trigger in triggers:
            Listen(task_id=trigger.bell, automation=definition.name, bell=trigger.bell)
    return dag


def _router() -> APIRouter:
    from fastapi import APIRouter

    from muster.triggers.bell import ring

    router = APIRouter()
    router.post("/bells/{name}")(ring)
    return router


BRINGS = Brings(dag=_dag, router=_router)
