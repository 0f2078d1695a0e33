"""`muster watch` shows what goes on now."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.language import load_folder
from support.command import Muster, read

AUTOMATION = """
automation: letters
steps:
  - { id: read, agent: finder, each: [1, 2, 3], ask: Read. }
  - { id: allow, human: { ask: "May it?", assignees: [ada] } }
"""
AGENTS = "department: office\nagents: [{ id: finder, role: You find., skills: [finding] }]\n"


@pytest.fixture(autouse=True)
def letters(database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> EventLog:
    """One run at its list and a question, one of a version that nobody knows, and one that has ended."""
    monkeypatch.setenv("MUSTER_DSN", dsn)
    for name, text in (("automations/letters.yaml", AUTOMATION), ("agents/office.yaml", AGENTS)):
        (project / "include" / name).parent.mkdir(exist_ok=True)
        (project / "include" / name).write_text(text)
    catalogue = load_folder(project / "include")
    assert not list(catalogue.problems)
    definition = catalogue.definitions["letters"]
    DefinitionStore(database).put(definition.canonical_json(), hash=definition.hash, automation="letters")
    log = EventLog(database)

    def write(run: str, version: str, *facts: tuple[T, dict[str, Any]]) -> None:
        opened = (T.RUN_OPENED, {"automation": "letters", "definition": version, "inputs": {}, "dag_id": "letters"})
        log.append(run, [NewEvent(type=type_, data=data) for type_, data in (opened, *facts)])

    def started(step: str, index: int | None = None, kind: str = "agent", **more: str) -> tuple[T, dict[str, Any]]:
        return T.STEP_STARTED, {"step": step, "index": index, "kind": kind, "lane": "async", "attempt": 1, **more}

    question = {"step": "allow", "index": None, "subject": "May it?", "details": None, "item": None}
    question |= {"assignees": ["ada", "bob"], "within": None, "otherwise": "reject", "asked_at": None}
    counts = {"succeeded": 1, "failed": 0, "skipped": 0, "set_aside": 0}
    write(
        "letters/now",
        definition.hash,
        (T.STEP_EXPANDED, {"step": "read", "length": 3, "indices": [0, 1, 2]}),
        *(started("read", index, agent="finder") for index in range(3)),
        (T.STEP_SUCCEEDED, {"step": "read", "index": 0, "output": 1}),
        started("allow", kind="human"),
        (T.APPROVAL_REQUESTED, question),
    )
    write("letters/odd", "d" * 64)
    write("letters/over", definition.hash, (T.RUN_CLOSED, {"status": "succeeded", "counts": counts, "cost": "0"}))
    return log


def test_open_runs_are_shown_with_their_stage_agents_and_whom_they_wait_for(muster: Muster) -> None:
    odd, now = read(muster("watch", "--json"))
    assert (now["run"], now["ended"], now["steps"]) == ("letters/now", 0, 2)
    assert now["stage"] == ["read 1/3", "allow"]
    assert now["agents"] == {"finder": 2}
    assert now["waits_for"] == {"allow": ["ada", "bob"]}
    assert 0 <= now["seconds_left"] < 1
    assert (odd["run"], odd["steps"], odd["stage"]) == ("letters/odd", None, [])
    shown = muster("watch", "--once").stdout
    assert "ada, bob (allow)" in shown
    assert "2 open runs, 2 agents at work, 1 waiting for people" in shown


def test_where_no_run_is_open_that_is_said(muster: Muster, database: Database) -> None:
    with database.connection() as connection:
        connection.execute("UPDATE runs SET status = 'succeeded'")
    assert "No run is open." in muster("watch").stdout


def test_on_a_terminal_it_stays_up_to_date_until_it_is_interrupted(project: Path, dsn: str, letters: EventLog) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"MUSTER_DSN": dsn, "TERM": "xterm", "COLUMNS": "160", "LINES": "30"}
    command = [sys.executable, "-m", "muster.cli", "watch"]
    watching = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=project,
        env=environment,
        # Of a script that runs in the background, Ctrl-C is ignored, and by whatever it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    try:
        assert "letters/now" in _read_until(ours, "letters/now")
        letters.append("letters/now", [NewEvent(type=T.STEP_SUCCEEDED, data={"step": "read", "index": 1})])
        assert "read 2/3" in _read_until(ours, "read 2/3")
        watching.send_signal(signal.SIGINT)
        _read_until(ours, "never")
        assert watching.wait(30) == 130
    finally:
        watching.kill()
        os.close(ours)


def _read_until(terminal: int, wanted: str) -> str:
    text, deadline = "", time.monotonic() + 60
    with suppress(OSError):  # The other end was closed.
        while wanted not in text and time.monotonic() < deadline:
            text += os.read(terminal, 65536).decode(errors="replace")
    return text
