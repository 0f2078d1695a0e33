"""`triggers: files` as a small Dag beside the automation: woken by new files, it starts a run with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import DAG, Asset, AssetWatcher
from muster_airflow.operators.arrivals import StartRuns
from muster_airflow.reference import FILES_SUFFIX
from muster_airflow.triggers.arrivals import ArrivalTrigger

if TYPE_CHECKING:
    from muster.language.definition import Definition, ResolvedFiles


def build_files_dag(definition: Definition) -> DAG:
    """The Dag that watches the folders of `definition` and starts its runs.

    The asset's events only wake it; which files are new is decided by the table `arrivals`. So events
    that Airflow folds into one, or delivers late, lose nothing.
    """
    watched = [_asset(definition, number, files) for number, files in enumerate(definition.files_triggers)]
    dag = DAG(
        dag_id=definition.automation + FILES_SUFFIX,
        dag_display_name=f"{definition.title}: files",
        description=f"Starts {definition.automation} for files that are new in a folder.",
        schedule=watched,
        tags=["muster", "files"],
        max_active_runs=1,
        default_args={"owner": definition.owner or "muster"},
        is_paused_upon_creation=False,
    )
    with dag:
        for number, files in enumerate(definition.files_triggers):
            StartRuns(
                task_id=f"start_{number}",
                automation=definition.automation,
                path=files.path,
                match=files.match,
                input=files.input,
            )
    return dag


def _asset(definition: Definition, number: int, files: ResolvedFiles) -> Asset:
    name = f"muster-files-{definition.automation}-{number}"
    trigger = ArrivalTrigger(
        automation=definition.automation, path=files.path, match=files.match, every=files.every
    )
    return Asset(name=name, watchers=[AssetWatcher(name=name, trigger=trigger)])
