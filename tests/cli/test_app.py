"""The command itself: quick, quiet in a pipe, honest in its exit codes, never a traceback for a person's mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from muster.local.running import Running
from support.command import Muster, imported_by

COMMANDS = [
    *("up", "down", "status", "doctor", "migrate", "new", "lint", "schema", "list", "agents", "skill"),
    *("run", "runs", "show", "approve", "reject", "outbox"),
]


def shell(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process and pipes of its own."""
    return subprocess.run(
        [sys.executable, "-m", "muster.cli", *arguments],
        cwd=project,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(muster: Muster, command: str) -> None:
    result = muster(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


ALWAYS_TOO_HEAVY = {"airflow", "sqlalchemy", "pydantic_ai", "alembic", "lxml", "openai", "numpy", "pandas"}
LANGUAGE = {"jinja2", "jsonschema", "yaml", "muster.language.kinds"}
"""What reads automations: its models take longer to import than all else that a command does."""
PERFORMING = {"muster.execution.services", "muster.execution.flow", "muster.saga.scope", "muster.notifications"}
"""What performs steps and orders that they are done again."""


@pytest.mark.parametrize(
    ("arguments", "too_heavy"),
    [
        (["--help"], LANGUAGE | {"pydantic", "psycopg", "httpx"}),
        (["list"], {"psycopg", "httpx"}),
        (["lint"], {"psycopg", "httpx"}),
        (["agents"], {"psycopg", "httpx", "jsonschema", "muster.language.kinds"}),
        (["runs"], LANGUAGE | {"httpx"}),
        (["outbox"], LANGUAGE | {"httpx"}),
        (["effects"], LANGUAGE | {"httpx"}),
        (["breakers"], LANGUAGE | {"httpx"}),
        (["status"], LANGUAGE | {"psycopg"}),
        (["run", "hello"], LANGUAGE | {"psycopg"}),
        (["cancel", "none"], LANGUAGE | PERFORMING),
        (["dead-letters", "list"], LANGUAGE | PERFORMING | {"httpx"}),
        (["check"], PERFORMING | {"httpx", "muster.recovery.ledger", "muster.skills.calling"}),
        (["doctor"], PERFORMING | {"httpx", "muster.recovery.ledger"}),
    ],
)
def test_a_command_imports_nothing_heavy_that_it_does_not_need(
    project: Path, dsn: str, arguments: list[str], too_heavy: set[str]
) -> None:
    shell(project, "new", "hello")
    exit_code = {"status": 1, "run": 3, "cancel": 1}.get(arguments[0], 0)
    imported = imported_by(arguments, project=project, dsn=dsn, exit_code=exit_code)
    assert imported & (ALWAYS_TOO_HEAVY | too_heavy) == set()


def test_a_pipe_gets_no_colour_and_no_cut_lines(project: Path) -> None:
    shell(project, "new", "a_" + "very_" * 16 + "long_name")
    listed = shell(project, "list")
    assert "a_" + "very_" * 16 + "long_name" in listed.stdout
    assert "\x1b" not in listed.stdout + listed.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["status"], 1),
        (["nonsense"], 2),
        (["run"], 2),
        (["skill", "finance.read_invoice", "--with", "uri"], 2),
        (["runs"], 3),
        (["show", "some/run"], 3),
        (["run", "invoice_processing"], 3),
        (["approve", "some/run"], 3),
    ],
)
def test_a_mistake_gets_its_exit_code_and_no_traceback(muster: Muster, arguments: list[str], code: int) -> None:
    result = muster(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output


def test_what_does_not_answer_is_said_with_the_remedy(muster: Muster) -> None:
    result = muster("runs")
    assert "muster up" in result.stderr
    assert result.stdout == ""


def test_a_database_that_does_not_answer_is_no_traceback(project: Path) -> None:
    done = shell(project, "runs", "--json", MUSTER_DSN="postgresql://u:sesame@127.0.0.1:9/none?connect_timeout=1")
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "sesame" not in done.stderr


def test_debug_shows_the_traceback(muster: Muster) -> None:
    result = muster("--debug", "runs")
    assert result.exit_code == 3
    assert "Traceback" in result.stderr


def test_a_reader_that_stops_early_is_no_error(project: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"{sys.executable}" -m muster.cli schema | head -1; exit 0'],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


def test_a_busy_port_ends_up_with_its_own_exit_code_and_starts_nothing(project: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = shell(project, "up", "--port", str(port))
    assert done.returncode == 4, done.stderr
    assert f"Port {port} is in use" in done.stderr
    assert f"--port {port + 1}" in done.stderr
    assert not (project / ".muster" / "postgres").exists()


def test_a_port_that_is_named_for_what_runs_at_another_is_refused(
    muster: Muster, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(1, "http://localhost:8123", "dsn", "here", True, "logs", {})
    monkeypatch.setattr("muster.cli.up.find_running", lambda state: running)
    refused = muster("up", "--port", "8124")
    assert refused.exit_code == 1
    assert "running already, at http://localhost:8123: the port 8124 was not taken" in " ".join(refused.stderr.split())
    for same in (["up"], ["up", "--port", "8123"]):
        done = muster(*same)
        assert (done.exit_code, "running already at http://localhost:8123" in done.stdout) == (0, True)
