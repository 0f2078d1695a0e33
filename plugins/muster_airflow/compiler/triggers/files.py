"""`triggers: files` as a small Dag beside the automation: woken by new files, it starts a run with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow.sdk import DAG, Asset, AssetWatcher

from muster.language.resolved import ResolvedTrigger
from muster.language.triggers.files import ResolvedFiles
from muster_airflow.compiler.brings import Brings
from muster_airflow.compiler.shown import shown
from muster_airflow.operators.arrivals import StartRuns
from muster_airflow.reference import beside
from muster_airflow.triggers.arrivals import ArrivalTrigger

if TYPE_CHECKING:
    from muster.language.definition import Definition


def build_files_dag(definition: Definition) -> DAG:
    """The Dag that watches the folders of `definition` and starts its runs.

    The asset's events only wake it; which files are new is decided by the table `arrivals`. So events
    that Airflow folds into one, or delivers late, lose nothing.
    """
    files = watches(definition.triggers)
    watched = [_asset(definition, number, watch) for number, watch in enumerate(files)]
    dag = DAG(
        dag_id=beside(definition.name, "files"),
        dag_display_name=f"{shown(definition.title)}: files",
        description=f"Starts {definition.name} for files that are new in a folder.",
        schedule=watched,
        tags=["muster", "files"],
        max_active_runs=1,
        default_args={"owner": shown(definition.owner or "muster")},
        is_paused_upon_creation=False,
        auto_register=False,
    )
    with dag:
        for number, watch in enumerate(files):
            StartRuns(
                task_id=f"start_{number}",
                automation=definition.name,
                path=watch.path,
                match=list(watch.match),
                input=str(watch.input),
                inputs=sorted({str(other.input) for other in files}),
            )
    return dag


def watches(triggers: Iterable[ResolvedTrigger]) -> list[ResolvedFiles]:
    """Those of the triggers that watch a folder for an input."""
    return [
        trigger
        for trigger in triggers
        if isinstance(trigger, ResolvedFiles) and trigger.input is not None and trigger.every is not None
    ]


def _asset(definition: Definition, number: int, watch: ResolvedFiles) -> Asset:
    name = f"muster-files-{definition.name}-{number}"
    every = float(watch.every or 0)
    trigger = ArrivalTrigger(automation=definition.name, path=watch.path, match=list(watch.match), every=every)
    return Asset(name=name, watchers=[AssetWatcher(name=name, trigger=trigger)])


def _dag(definition: Definition, triggers: Iterable[ResolvedTrigger]) -> DAG | None:
    return build_files_dag(definition) if watches(triggers) else None


BRINGS = Brings(dag=_dag)
