"""The reconciler as a Dag of its own: every few minutes it looks after all runs."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, CronTriggerTimetable, Param

from muster_airflow.compiler.stub import build_stub
from muster_airflow.operators.reconciling import AskChecks, Reconcile, WriteCheckpoint
from muster_airflow.reference import RECONCILER

SCHEDULE = "MUSTER_RECONCILE"
"""The variable that says when: a cron expression, or `off`."""
EVERY_TEN_MINUTES = "*/10 * * * *"
QUIET = "quiet"
_QUIET = "What happened to something in the last minutes is left to come to rest."
DOC = """Looks after all runs, and mends what can be mended:

- `reconcile`: runs that died are restarted, leases left behind are let go, notices are sent again; the rest is told.
- `checks`: what automations declare under `checks` is asked; after something was mended, all of it.
- `checkpoint`: where every stream of the log ends is written into a file outside of the database.

What needs a person is told once, in the channels that the automation names under `incidents`. This Dag fails only when
it cannot look. Its schedule is the variable `MUSTER_RECONCILE`; `docs/recovery.md` says more."""


def build_reconciler(include: Path) -> DAG | None:
    """The Dag that looks after the automations below `include`; None when it is switched off.

    A schedule that cannot be read gives a Dag that says so: it must not hide the automations.
    """
    from muster.language.triggers.schedule import cron_mistake

    schedule = os.environ.get(SCHEDULE, "").strip() or EVERY_TEN_MINUTES
    if schedule.lower() == "off":
        return None
    if mistake := cron_mistake(schedule):
        problem = f"{SCHEDULE} is neither `off` nor a cron expression: {mistake}"
        return build_stub(RECONCILER, problem, paused=False)
    with DAG(
        dag_id=RECONCILER,
        dag_display_name="Reconciler",
        description="Finds runs, leases, notices and effects that were left behind, and mends what can be mended.",
        doc_md=DOC,
        schedule=CronTriggerTimetable(schedule, timezone="UTC"),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["muster", "operations"],
        params={QUIET: Param(10, type="number", minimum=0, title="Minutes of quiet", description=_QUIET)},
        default_args={"owner": "muster"},
        auto_register=False,
    ) as dag:
        Reconcile(task_id="reconcile") >> AskChecks(task_id="checks", include=include)
        WriteCheckpoint(task_id="checkpoint")
    return dag
