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
    """Looks after runs; what it finds is no failure of its own."""

    custom_operator_name = "reconcile"
    ui_color = "#f1f5f9"
    ui_fgcolor = "#10182b"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**restart_policy(), **kwargs)

    def _told(self, found: list[Discrepancy], *, well: str) -> list[dict[str, Any]]:
        """What was found, for the XCom; the task's log has it for people. It reads the log without a key."""
        for each in found:
            how = "mended: " if each.mended else ""
            level = "warning" if each.person else "info"
            note(level, f"{each.kind} {each.subject}: {how}{each.message} {each.remedy}")
        if not found:
            note("info", well)
        return [vars(each) for each in found]


class Reconcile(ReconcilingOperator):
    """Finds where the log, Airflow and the outside disagree, and mends what can be mended."""

    @leaves
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Mend, tell people, and return everything that was found."""
        from muster.operations.reconciling import reconcile

        found = reconcile(_scope(context))
        return self._told(found, well="The log and Airflow agree; nothing is left over.")


class AskChecks(ReconcilingOperator):
    """Asks what automations declare under `checks`: what is due, and all once something was mended or has recovered."""

    custom_operator_name = "checks"

    def __init__(self, *, include: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._include = include

    @leaves
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Ask, tell people, and return what does not hold."""
        from muster.language import load_folder
        from muster.operations.reconciling import ask_checks, has_recovered
        from muster_airflow.published import is_published
        from muster_airflow.services import artifacts, site_skills

        mended = any(each["mended"] for each in context["ti"].xcom_pull(task_ids="reconcile") or ())
        scope, since = _scope(context), _last_time(context)
        # What was begun again has to hold as well once it has ended, which is later than it was mended.
        if mended or (since is not None and has_recovered(scope, since)):
            since = None
        definitions = load_folder(self._include, published=is_published(self._include.parent)).definitions.values()
        found = ask_checks(scope, definitions, artifacts=artifacts(), site=site_skills(context), since=since)
        return self._told(found, well="Everything that was asked holds.")


class WriteCheckpoint(ReconcilingOperator):
    """Writes where every stream ends into the file outside of the database."""

    custom_operator_name = "checkpoint"

    @leaves
    def execute(self, context: Context) -> dict[str, Any] | None:
        """Add a checkpoint; people are told when the file was cut or edited. The XCom is its number and hash."""
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
            found = Discrepancy("checkpoint", str(path), error.message, remedy)
            note("warning", f"{path}: {error.message} {remedy}")
            tell_people(scope, [found])
            return vars(found)
        if written is None:
            note("info", "Nothing was appended since the last checkpoint.")
            return None
        note("info", f"Checkpoint {written.number}: {written.hash}")
        return {"number": written.number, "hash": written.hash}


def _last_time(context: Context) -> datetime | None:
    """When the Dag last began a run that came through; None for the first one."""
    # Airflow gives something that stands for it: never None itself, and of a type that no driver of a database takes.
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
