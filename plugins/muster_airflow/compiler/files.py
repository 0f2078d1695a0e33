"""`triggers: files` as a small Dag beside the automation: woken by new files, it starts a run with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.sdk import DAG, Asset, AssetWatcher

from muster_airflow.operators.arrivals import StartRuns
from muster_airflow.reference import FILES_SUFFIX
from muster_airflow.triggers.arrivals import ArrivalTrigger

if TYPE_CHECKING:
    from muster.language.definition import Definition


def build_files_dag(definition: Definition) -> DAG:
    """The Dag that watches the folders of `definition` and starts its runs.

    The asset's events only wake it; which files are new is decided by the table `arrivals`. So events
    that Airflow folds into one, or delivers late, lose nothing.
    """
    watched = [_asset(definition, number, watch) for number, watch in enumerate(watches(definition))]
    dag = DAG(
        dag_id=definition.name + FILES_SUFFIX,
        dag_display_name=f"{definition.title}: files",
        description=f"Starts {definition.name} for files that are new in a folder.",
        schedule=watched,
        tags=["muster", "files"],
        max_active_runs=1,
        default_args={"owner": definition.owner or "muster"},
        is_paused_upon_creation=False,
        auto_register=False,
    )
    with dag:
        for number, watch in enumerate(watches(definition)):
            StartRuns(
                task_id=f"start_{number}",
                automation=definition.name,
                path=watch.path,
                match=watch.match,
                input=watch.input,
                inputs=sorted({each.input for each in watches(definition)}),
            )
    return dag


@dataclass(frozen=True)
class Watch:
    """A trigger that watches a folder, with what only such a trigger has."""

    path: str
    match: list[str]
    input: str
    every: float


def watches(definition: Definition) -> list[Watch]:
    """The triggers of `definition` that watch a folder."""
    return [
        Watch(trigger.path, list(trigger.match), trigger.input, trigger.every)
        for trigger in definition.triggers
        if trigger.path is not None and trigger.input is not None and trigger.every is not None
    ]


def _asset(definition: Definition, number: int, watch: Watch) -> Asset:
    name = f"muster-files-{definition.name}-{number}"
    trigger = ArrivalTrigger(automation=definition.name, path=watch.path, match=watch.match, every=watch.every)
    return Asset(name=name, watchers=[AssetWatcher(name=name, trigger=trigger)])
