"""A definition as an Airflow Dag: `open`, the steps, `close`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from airflow.sdk import DAG
from airflow.sdk.definitions.param import ParamsDict

from muster.language.runs import AT_ONCE
from muster_airflow.compiler.deadlines import deadline_alerts
from muster_airflow.compiler.documentation import documentation
from muster_airflow.compiler.inputs import params
from muster_airflow.compiler.shown import shown
from muster_airflow.compiler.tasks import add_tasks
from muster_airflow.compiler.triggers import schedule

if TYPE_CHECKING:
    from muster.language.definition import Definition

TASKS_AT_ONCE = 1024
"""Steps in the triggerer hold no worker; those in workers are bounded by the executor."""


def build_dag(definition: Definition, source: str, since: datetime | None = None) -> DAG:
    """The Dag of one automation, whose YAML is `source`, and which has its schedule since that time.

    Nothing in it depends on the time, the machine or the order of a set: the same definition gives
    the same serialized Dag, so Airflow makes no phantom versions.
    """
    dag = DAG(
        dag_id=definition.name,
        dag_display_name=shown(definition.title),
        description=definition.description and shown(definition.description),
        doc_md=documentation(definition, source),
        tags=_tags(definition),
        params=params(definition),
        deadline=deadline_alerts(definition),
        default_args={"owner": shown(definition.owner or "muster")},
        max_active_runs=AT_ONCE,
        max_active_tasks=TASKS_AT_ONCE,
        catchup=False,
        # Airflow would register it as soon as `with` is left, also by an error: with half of its tasks, and in place of
        # the Dag that says what is wrong.
        auto_register=False,
        schedule=schedule(definition, since),
    )
    # Airflow gives every task a copy of its Dag's params, and checks the copies without what a run was given: in the
    # triggerer a param without a default would bring down the process that all triggers run in.
    own, dag.params = dag.params, ParamsDict()
    with dag:
        add_tasks(definition)
    # Past Airflow's setter, which would check them again: it did when the Dag was made, and takes as long as all tasks.
    object.__setattr__(dag, "params", own)
    return dag


def _tags(definition: Definition) -> list[str]:
    tags = {"muster", definition.category, definition.department}
    return sorted(tag for tag in tags if tag)
