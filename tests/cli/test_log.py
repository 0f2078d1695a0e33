"""The log answers on the command line: what a run was, and whether everything still says so."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.events.log import EventLog
from support.command import Muster, read
from support.run_events import whole_run

RUN = "bills/monday"


@pytest.fixture(autouse=True)
def log(database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> EventLog:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    log = EventLog(database)
    log.append(RUN, whole_run())
    return log


def execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER append_only")
        assert connection.execute(statement).rowcount
        connection.execute("ALTER TABLE events ENABLE TRIGGER append_only")


def test_a_rebuild_makes_all_rows_new_or_one_runs(muster: Muster, dsn: str, log: EventLog) -> None:
    log.append("bills/tuesday", whole_run())
    execute(dsn, "UPDATE steps SET status = 'failed'")
    assert "8 rows of 1 run new" in muster("rebuild", "tuesday").stdout
    assert [muster("replay", run).exit_code for run in ("monday", "tuesday")] == [1, 0]
    told = read(muster("rebuild", "--json"))
    assert (told["runs"], told["rows"]) == (2, 16)
    assert muster("replay", "monday").exit_code == 0
    assert muster("rebuild", "friday").exit_code == 1


def test_the_whole_log_and_one_run_are_verified_against_checkpoints(muster: Muster, dsn: str, project: Path) -> None:
    assert "21 events of 1 stream." in muster("verify").stdout
    written = read(muster("verify", "--checkpoint", "--json"))
    assert (written["checkpoint"]["number"], written["faults"]) == (1, [])
    assert (project / ".muster" / "checkpoints.jsonl").exists()
    assert "they witness the end of 1 stream." in muster("verify", "--checkpoint").stdout
    execute(dsn, "DELETE FROM events WHERE version > 20")
    for arguments in ([], [RUN], ["--checkpoint"]):
        shown = muster("verify", *arguments)
        assert (shown.exit_code, "truncated" in shown.stdout) == (1, True), shown.output
    execute(dsn, "DELETE FROM events")
    told = muster("verify", RUN, "--json")
    assert [(f["stream"], f["version"], f["kind"]) for f in read(told)["faults"]] == [(RUN, 1, "truncated")]
    assert muster("verify", "unknown").exit_code == 1
    assert muster("verify", RUN, "--checkpoint").exit_code == 2


def test_a_file_of_checkpoints_that_was_cut_is_told_and_begun_anew_only_when_asked(
    muster: Muster, project: Path
) -> None:
    muster("verify", "--checkpoint")
    (project / ".muster" / "checkpoints.jsonl").write_text("")
    shown = muster("verify", "--checkpoint")
    assert (shown.exit_code, "No checkpoint was written" in shown.stdout) == (1, True)
    assert muster("verify", "--checkpoint", "--begin").exit_code == 0
    assert muster("verify").exit_code == 0


def test_a_replay_says_that_the_projections_agree(muster: Muster) -> None:
    shown = muster("replay", "monday")
    assert shown.exit_code == 0, shown.output
    for said in (
        RUN,
        "21 of 21",
        "succeeded",
        "2 calls, at least $0.0012",
        "3 of 3: 2 succeeded, 1 set_aside",
        "say what",
    ):
        assert said in shown.stdout, said
    told = read(muster("replay", RUN, "--json"))
    assert (told["differences"], told["state"]["steps"]["read"]["status"]) == ([], "succeeded")


def test_a_replay_fails_where_a_projection_differs_and_needs_none_to_find_its_run(muster: Muster, dsn: str) -> None:
    execute(dsn, "UPDATE steps SET status = 'failed' WHERE step = 'code'")
    shown = muster("replay", RUN)
    assert shown.exit_code == 1
    assert "differ from the log in 1 place:" in shown.stdout
    execute(dsn, "DELETE FROM runs")
    told = muster("replay", RUN, "--json")
    assert told.exit_code == 1
    assert [(d["table"], d["column"]) for d in read(told)["differences"]] == [("runs", "*"), ("steps", "status")]


def test_a_replay_stops_at_a_version_a_time_or_a_step(muster: Muster) -> None:
    told = read(muster("replay", RUN, "--until", "4", "--json"))
    assert (told["version"], told["last"], told["differences"]) == (4, 21, None)
    assert told["state"]["steps"]["read"]["status"] == "running"
    assert read(muster("replay", RUN, "--until", "2100-01-01", "--json"))["version"] == 21
    shown = muster("replay", RUN, "--step", "approve")
    assert shown.exit_code == 0
    for said in ("19 of 21", '"approved": true', "Pay?"):
        assert said in shown.stdout, said
    assert read(muster("replay", RUN, "--step", "code", "--json"))["step"]["whole"]["output"] == "4400"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tuesday"], 1, "There is no run 'tuesday'"),
        (["monday", "--step", "nowhere"], 1, "no step|step 'nowhere'"),
        (["monday", "--until", "22"], 1, "Give a version from 1 to 21"),
        (["monday", "--until", "2001-01-01"], 1, "had not begun"),
        (["monday", "--until", "noon"], 2, "neither a version nor a time"),
    ],
)
def test_what_cannot_be_replayed_is_said_with_its_exit_code(
    muster: Muster, arguments: list[str], code: int, said: str
) -> None:
    shown = muster("replay", *arguments)
    assert shown.exit_code == code
    assert any(part in shown.output for part in said.split("|")), shown.output
