"""A run's trail is exported, and checked by whoever has the public key."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from muster.cli.auditing import PUBLIC, file_name
from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.events.log import EventLog
from support.command import Muster, read
from support.run_events import CONTENT, DEFINITION, whole_run

RUN = "bills/monday"


@pytest.fixture(autouse=True)
def log(database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> EventLog:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    log = EventLog(database)
    DefinitionStore(database).put(CONTENT, hash=DEFINITION, automation="bills")
    log.append(RUN, whole_run())
    return log


def test_a_trail_is_exported_and_checks(muster: Muster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = read(muster("audit", "monday", "--out", str(tmp_path / "out"), "--json"))
    trail, html, public = map(Path, told["files"])
    assert (told["run"], told["fault"]) == (RUN, None)
    assert "Audit trail of bills/monday" in html.read_text()
    shown = muster("audit", "--check", str(trail))
    assert (shown.exit_code, "21 events of bills/monday" in shown.stdout, "project's own" in shown.stdout) == (
        0,
        True,
        True,
    )
    # Somebody else, outside of any project, has the files only.
    monkeypatch.chdir(tmp_path)
    shown = muster("audit", "--check", str(trail))
    assert (shown.exit_code, told["key"] in shown.stdout, "compare it" in shown.stdout) == (0, True, True)
    trail.write_text(trail.read_text().replace("clerk", "eve"))
    checked = muster("audit", "--check", str(trail), "--key", str(public), "--json")
    assert (checked.exit_code, len(read(checked)["faults"])) == (1, 1)


def test_the_trail_of_a_log_that_was_tampered_with_says_so(muster: Muster, tmp_path: Path, dsn: str) -> None:
    assert muster("verify", "--checkpoint").exit_code == 0
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER append_only")
        connection.execute("DELETE FROM events WHERE version > 20")
    told = muster("audit", RUN, "--out", str(tmp_path), "--json")
    assert told.exit_code == 1
    assert "1 event is missing at the end" in read(told)["fault"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere"], 1, "There is no run 'nowhere'"),
        ([], 2, "either RUN or --check"),
        (["monday", "--check", "x"], 2, "either RUN or --check"),
        (["--check", "missing.jsonl"], 1, "public key"),
        (["monday", "--out", "include/automations/a.yaml"], 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_code(
    muster: Muster, project: Path, arguments: list[str], code: int, said: str
) -> None:
    (project / "include" / "automations" / "a.yaml").write_text("")
    shown = muster("audit", *arguments)
    assert (shown.exit_code, said in shown.output) == (code, True), shown.output


def test_files_of_different_runs_never_share_a_name() -> None:
    names = [file_name(run) for run in ("a/b", "a_b", "a/../../b", "..", "ä", "x" * 500)]
    assert len(set(names)) == len(names)
    assert all("/" not in name and not name.startswith(".") and len(name) < 200 for name in names)
    assert PUBLIC not in names
