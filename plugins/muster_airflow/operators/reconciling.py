"""The tasks of the reconciler's Dag; the XCom of each is what it found and did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from muster_airflow.egress import leaves, note
from muster_airflow.operators.base import restart_policy

if TYPE_CHECKING:
    from pathlib import Path

    from muster.notifications.model import Notice
    from muster.operations.reconciling import Discrepancy, Scope


class ReconcilingOperator(BaseOperator):
    """Looks after runs. A discrepancy is no failure of the task, which stays green."""

    custom_operator_name = "reconcile"
    ui_color = "#f1f5f9"
    ui_fgcolor = "#10182b"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**restart_policy(), **kwargs)

    def _told(self, found: list[Discrepancy], *, well: str) -> list[dict[str, Any]]:
        """The discrepancies for the XCom, each written into the task's log for people.

        Airflow may keep their words, because the reconciler reads the logs of runs without a key.
        """
        for discrepancy in found:
            how = "mended: " if discrepancy.mended else ""
            level = "warning" if discrepancy.person else "info"
            note(level, f"{discrepancy.kind} {discrepancy.subject}: {how}{discrepancy.message} {discrepancy.remedy}")
        if not found:
            note("info", well)
        return [vars(discrepancy) for discrepancy in found]


class Reconcile(ReconcilingOperator):
    """Finds where the log, Airflow and the outside disagree, and mends what can be mended."""

    @leaves
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Mend, tell people, and return everything that was found."""
        from muster.operations.reconciling import reconcile
        from muster.operations.workspaces import clear_workspaces
        from muster_airflow.services import artifacts

        scope = _scope(context)
        discrepancies = reconcile(scope)
        for cleared in clear_workspaces(scope, artifacts()):
            note("info", f"The workspace of a program whose process is gone was removed: {cleared}.")
        return self._told(discrepancies, well="The log and Airflow agree; nothing is left over.")


class AskChecks(ReconcilingOperator):
    """Asks what automations declare under `checks`: what is due, and all once something was mended or has recovered."""

    custom_operator_name = "checks"

    def __init__(self, *, include: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._include = include

    @leaves
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Ask, tell people, and return the checks that do not hold."""
        from muster.language import load_folder
        from muster.operations.reconciling import ask_checks, has_recovered
        from muster_airflow.published import is_published
        from muster_airflow.services import artifacts, site_skills

        mended = any(discrepancy["mended"] for discrepancy in context["ti"].xcom_pull(task_ids="reconcile") or ())
        scope, since = _scope(context), _last_time(context)
        # A run that was mended goes on and ends later than this. Once it has ended, all checks are asked again, because
        # its result has to hold as well.
        if mended or (since is not None and has_recovered(scope, since)):
            since = None
        definitions = load_folder(self._include, published=is_published(self._include.parent)).definitions.values()
        broken = ask_checks(scope, definitions, artifacts=artifacts(), site=site_skills(context), since=since)
        return self._told(broken, well="Everything that was asked holds.")


class WriteCheckpoint(ReconcilingOperator):
    """Writes where every stream ends into the file outside of the database."""

    custom_operator_name = "checkpoint"

    @leaves
    def execute(self, context: Context) -> dict[str, Any] | None:
        """Add a checkpoint; the XCom is its number and hash.

        If the file was cut or edited, people are told, and the XCom is the discrepancy.
        """
        from muster.errors import MusterError
        from muster.events.checkpoints import CHECKPOINTS, write_checkpoint
        from muster.operations.reconciling import Discrepancy
        from muster.operations.reconciling.telling import tell_people
        from muster_airflow.services import state_folder

        scope, path = _scope(context), state_folder() / CHECKPOINTS
        try:
            written = write_checkpoint(scope.log, path)
        except MusterError as error:
            remedy = error.remedy or ""
            discrepancy = Discrepancy("checkpoint", str(path), error.message, remedy)
            note("warning", f"{path}: {error.message} {remedy}")
            tell_people(scope, [discrepancy])
            return vars(discrepancy)
        if written is None:
            note("info", "Nothing was appended since the last checkpoint.")
            return None
        note("info", f"Checkpoint {written.number}: {written.hash}")
        return {"number": written.number, "hash": written.hash}


def _last_time(context: Context) -> datetime | None:
    """When the Dag last began a run that came through; None for the first one."""
    # Airflow gives a lazy proxy, which is never None itself and of a type that no database driver takes.
    at = context["prev_start_date_success"]
    return datetime.fromtimestamp(at.timestamp(), UTC) if at else None


def _scope(context: Context) -> Scope:
    from muster.operations.reconciling import Scope
    from muster_airflow.airflow_runs import TaskAirflow
    from muster_airflow.services import run, services_in_worker

    services = services_in_worker(context)

    def send(notice: Notice) -> None:
        run(services, services.notices.send(notice))

    quiet = timedelta(minutes=float(context["params"]["quiet"]))
    return Scope(database=services.database, airflow=TaskAirflow(), now=services.clock(), quiet=quiet, send=send)
