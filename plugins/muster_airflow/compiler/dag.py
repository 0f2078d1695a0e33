"""A definition as an Airflow Dag: `open`, the steps, `close`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, Param
from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.definitions.param import ParamsDict

from muster.language.runs import AT_ONCE
from muster_airflow.compiler.documentation import documentation
from muster_airflow.compiler.shown import shown
from muster_airflow.compiler.tasks import add_tasks
from muster_airflow.compiler.triggers import schedule

if TYPE_CHECKING:
    from muster.language.definition import Definition, ResolvedDeadline

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
        params=_params(definition),
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


def _params(definition: Definition) -> dict[str, Param]:
    """One Airflow param for each input, carrying its JSON Schema."""
    return {name: _param(schema) for name, schema in definition.inputs.items()}


def _param(schema: dict[str, Any]) -> Param:
    rest = dict(schema)
    default = [rest.pop("default")] if "default" in rest else []
    return Param(*default, **rest)


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
