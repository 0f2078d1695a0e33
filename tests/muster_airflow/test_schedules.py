"""Promises of schedules: the times of an automation count from when it was published with them, and none is lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.dag_processing.bundles import base
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.types import DagRunType

from muster import language
from muster.local.airflow import connection_json
from muster_airflow.bundle import DAG_FILE, MusterBundle

MONTHLY, DAILY = "30 0 1 * *", "0 6 * * *"
SOURCE = """automation: one
triggers: [{{schedule: "{schedule}", timezone: Europe/Berlin}}]
steps:
  - {{id: tell, notify: [{{slack: '#ops', text: "{text}"}}]}}
"""


class Machine:
    """A machine with a Dag processor, on a disk of its own."""

    def __init__(self, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source, self._disk, self._monkeypatch = folder / name / "project", folder / name / "disk", monkeypatch
        self._path = self.source / "include" / "automations" / "one.yaml"
        self._path.parent.mkdir(parents=True)
        self.start()

    def start(self) -> None:
        self._use()
        self.bundle = MusterBundle(path=str(self.source), name="muster", refresh_interval=5)

    def _use(self) -> None:
        self._monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(self._disk))
        self._monkeypatch.setattr(base, "STALE_BUNDLE_TRACKING_FOLDER", self._disk / "_tracking")

    def publish(self, schedule: str, text: str = "first") -> dict[str, Any]:
        self._path.write_text(SOURCE.format(schedule=schedule, text=text))
        return self.read()

    def read(self) -> dict[str, Any]:
        """What Airflow's database is given of the Dag, when this machine reads it."""
        self._use()
        self.bundle.refresh()
        bag = DagBag(dag_folder=str(self.bundle.path / DAG_FILE), safe_mode=False)
        assert not bag.import_errors
        return DagSerialization.to_dict(bag.dags["one"])


@pytest.fixture
def machine(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Machine]:
    """Makes a machine of a name."""
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setattr("muster_airflow.bundle.RENOTED", 0.0)
    return lambda name="first": Machine(tmp_path, name, monkeypatch)


@pytest.fixture
def passes(dsn: str) -> Callable[[str], None]:
    """Dates what was published so far, as if it had been published at that time."""

    def move(to: str) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "UPDATE bundle_versions SET published_at = %(to)s::timestamptz,"
                " schedules = jsonb_set(schedules, '{one,1}', to_jsonb(%(to)s::text)) WHERE schedules ? 'one'"
                " AND published_at > clock_timestamp() - interval '1 hour'",
                {"to": f"{to}+00:00"},
            )

    return move


@pytest.fixture
def upgrade(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes of the versions, published at such times by an earlier release, what its upgrade makes of them."""

    def make(*times: str) -> None:
        with psycopg.connect(dsn) as connection:
            versions = connection.execute("SELECT version FROM bundle_versions ORDER BY published_at").fetchall()
            for (version,), at in zip(versions, times, strict=True):
                dated = "UPDATE bundle_versions SET published_at = %s WHERE version = %s"
                connection.execute(dated, (f"{at}+00:00", version))
            connection.execute("ALTER TABLE bundle_versions DROP COLUMN schedules")
            monkeypatch.setattr("alembic.op.execute", connection.execute, raising=False)
            import_module("muster.migrations.versions.0016_schedules").upgrade()

    return make


def next_time(dag: dict[str, Any], monkeypatch: pytest.MonkeyPatch, now: str, last: str | None = None) -> str:
    """When Airflow would begin the next run if it read the Dag now, whose last run was for such a time."""
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: moment)
    model, run = DagModel(dag_id="one"), None
    if last is not None:
        at = datetime.fromisoformat(last).replace(tzinfo=UTC)
        run = DagRun(
            dag_id="one",
            run_id="x",
            run_type=DagRunType.SCHEDULED,
            logical_date=at,
            run_after=at,
            data_interval=(at, at),
        )
    model.calculate_dagrun_date_fields(DagSerialization.from_dict(dag), reference_run=run)
    assert model.next_dagrun_create_after is not None
    return model.next_dagrun_create_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


# Berlin: an hour ahead of UTC in winter, two in summer.
@pytest.mark.parametrize(
    ("now", "first"),
    [
        ("2025-10-05T12:01", "2025-10-31T23:30"),
        ("2025-10-31T23:29", "2025-10-31T23:30"),
        ("2025-10-31T23:31", "2025-10-31T23:30"),
        ("2025-11-12T10:00", "2025-10-31T23:30"),
        ("2026-01-12T10:00", "2025-12-31T23:30"),
    ],
)
def test_the_first_time_is_not_lost_while_the_dag_is_paused_or_airflow_is_away(
    machine: Callable[..., Machine],
    passes: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    now: str,
    first: str,
) -> None:
    one = machine()
    one.publish(MONTHLY)
    passes("2025-10-05T12:00")
    assert next_time(one.read(), monkeypatch, now) == first


def test_an_edited_schedule_waits_for_its_next_time(
    machine: Callable[..., Machine], passes: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine()
    one.publish(DAILY)
    passes("2025-10-05T12:00")
    one.publish(MONTHLY)
    passes("2025-11-12T10:00")
    edited = one.read()
    assert next_time(edited, monkeypatch, "2025-11-12T10:01", "2025-11-12T05:00") == "2025-11-30T23:30"
    assert next_time(edited, monkeypatch, "2025-12-03T10:01", "2025-11-12T05:00") == "2025-11-30T23:30"
    # One that it had before begins anew, too.
    one.publish(DAILY)
    passes("2025-12-03T12:00")
    assert next_time(one.read(), monkeypatch, "2025-12-03T12:01", "2025-11-30T23:30") == "2025-12-04T05:00"


def test_any_other_edit_and_a_restart_leave_the_schedule_its_times(
    machine: Callable[..., Machine], passes: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine()
    one.publish(MONTHLY)
    passes("2025-10-05T12:00")
    for text in ("second", "third", "second"):
        edited = one.publish(MONTHLY, text)
        assert next_time(edited, monkeypatch, "2025-11-12T10:00") == "2025-10-31T23:30"
        one.start()
        assert one.read() == edited


def test_of_the_times_that_were_missed_the_last_one_is_run(
    machine: Callable[..., Machine], passes: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine()
    one.publish(DAILY)
    passes("2025-10-05T12:00")
    assert next_time(one.read(), monkeypatch, "2025-11-12T10:00", "2025-11-02T05:00") == "2025-11-12T05:00"


def test_all_dag_processors_make_the_same_dag(machine: Callable[..., Machine]) -> None:
    one, two = machine("one"), machine("two")
    assert one.publish(DAILY)["dag"]["timetable"] == two.publish(DAILY)["dag"]["timetable"]
    edited = one.publish(MONTHLY)["dag"]["timetable"]
    # The other one starts anew before it has the edit.
    two.start()
    two.publish(DAILY)
    assert two.publish(MONTHLY)["dag"]["timetable"] == one.read()["dag"]["timetable"] != edited


# The installation has published two versions before its upgrade; only the second has the schedule.
@pytest.mark.parametrize("text", ["first", "second"])
@pytest.mark.parametrize("now", ["2025-11-10T10:00", "2025-12-03T10:00"])
def test_an_upgrade_starts_no_run_that_nobody_scheduled_and_loses_none(
    machine: Callable[..., Machine],
    upgrade: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    now: str,
) -> None:
    one = machine()
    one.publish(DAILY)
    one.publish(MONTHLY)
    upgrade("2025-10-20T12:00", "2025-11-03T12:00")
    one.start()
    assert next_time(one.publish(MONTHLY, text), monkeypatch, now) == "2025-11-30T23:30"


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_schedule_that_was_edited_with_the_upgrade_waits_for_its_next_time(
    machine: Callable[..., Machine], upgrade: Callable[..., None], monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    one = machine("one")
    one.publish(MONTHLY)
    upgrade("2025-11-03T12:00")
    one.start()
    edited = (machine("two") if elsewhere else one).publish(DAILY)
    assert next_time(edited, monkeypatch, "2025-11-10T10:00") > f"{datetime.now(UTC):%Y-%m-%dT%H:%M}"


@pytest.mark.parametrize("restarted", [True, False])
def test_a_database_from_a_backup_leaves_the_schedule_its_times(
    machine: Callable[..., Machine], passes: Callable[[str], None], dsn: str, restarted: bool
) -> None:
    one = machine()
    one.publish(DAILY)
    passes("2025-10-05T12:00")
    one.publish(DAILY, "second")
    edited = one.publish(DAILY, "third")
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM bundle_versions WHERE published_at > '2025-11-01'")
    if restarted:
        one.start()
    one.read()
    assert one.read() == edited
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM bundle_versions").fetchone() == (3,)


def test_while_nothing_is_published_no_file_is_read_for_its_schedule(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine()
    one.publish(DAILY)
    read: list[Path] = []
    whole = language.load_folder
    monkeypatch.setattr(language, "load_folder", lambda *given, **kw: read.append(given[0]) or whole(*given, **kw))
    one.bundle.refresh()
    assert read == []
    one.publish(MONTHLY)
    assert read


def test_a_backfill_may_begin_before_it(machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    dag = DagSerialization.from_dict(machine().publish(DAILY))
    days = [datetime(2025, 10, day, tzinfo=UTC) for day in (5, 7)]
    assert [info.run_after.day for info in dag.iter_dagrun_infos_between(*days)] == [5, 6]
    assert dag.start_date is None
