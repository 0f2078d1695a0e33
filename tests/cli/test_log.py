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


def test_a_replay_says_that_the_projections_agree(muster: Muster) -> None:
    shown = muster("replay", "monday")
    assert shown.exit_code == 0, shown.output
    for said in (RUN, "21 of 21", "succeeded", "2 calls, $0.0012", "3 of 3: 2 succeeded, 1 set_aside", "say what the"):
        assert said in shown.stdout, said
    told = read(muster("replay", RUN, "--json"))
    assert (told["differences"], told["state"]["steps"]["read"]["status"]) == ([], "succeeded")


def test_a_replay_fails_where_a_projection_differs_and_needs_none_to_find_its_run(muster: Muster, dsn: str) -> None:
    execute(dsn, "UPDATE steps SET status = 'failed' WHERE step = 'code'")
    shown = muster("replay", RUN)
    assert shown.exit_code == 1
    assert "differ from the log in 1 places" in shown.stdout
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
