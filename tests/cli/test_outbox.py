"""`muster outbox` says plainly what nobody outside was told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from muster.cli.app import app
from muster.database import Database
from muster.notifications import Notice, Sender


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, dsn: str, tmp_path: Path) -> None:
    """A project, and Muster's database by name."""
    (tmp_path / "include" / "automations").mkdir(parents=True)
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("MUSTER_DSN", dsn)


async def keep(database: Database, run: str) -> None:
    """A notice that has no channel."""
    await Sender(database).send(
        Notice(channel="slack", target="#ops", text="[bold]3[/] posted", key=f"{run}/tell", run=run)
    )


async def test_a_kept_notice_is_shown_with_the_reason(database: Database) -> None:
    await keep(database, "a/1")
    result = CliRunner().invoke(app, ["outbox"])
    assert result.exit_code == 0, result.output
    assert "[bold]3[/] posted" in result.output
    assert "nobody has set up slack" in result.output
    assert "1 kept here: nobody outside was told" in result.output


async def test_a_subject_stands_above_its_text(database: Database) -> None:
    notice = Notice(channel="slack", target="#ops", subject="Question: [Bills]", text="Bills: a question", key="a/1")
    await Sender(database).send(notice)
    printed = CliRunner().invoke(app, ["outbox"]).output
    assert "Question: [Bills] " in printed
    assert "Question: [Bills]: Bills" not in printed


async def test_machines_get_json_of_one_run(database: Database) -> None:
    await keep(database, "a/1")
    await keep(database, "a/2")
    result = CliRunner().invoke(app, ["outbox", "--run", "a/2", "--status", "kept", "--json"])
    [entry] = json.loads(result.stdout)
    assert (entry["run"], entry["status"], entry["delivered_by"]) == ("a/2", "kept", "outbox")


def test_an_empty_outbox_says_so(dsn: str) -> None:
    result = CliRunner().invoke(app, ["outbox", "--status", "failed"])
    assert (result.exit_code, result.output.strip()) == (0, "There are no such notices.")
