"""`muster dead-letters` shows what waits whole, and changes nothing that it should not."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from muster.database import Database
from muster.events.log import EventLog
from support.command import Muster, read
from support.depot import AUTOMATION, Depot
from support.runs import MASTER


@pytest.fixture
def depot(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> Depot:
    """The site, and Muster's database by name."""
    monkeypatch.setenv("MUSTER_DSN", dsn)
    (tmp_path / "site").mkdir()
    return Depot(tmp_path / "site", database)


def test_an_item_is_listed_shown_whole_and_discarded_with_who_and_why(muster: Muster, depot: Depot) -> None:
    run = depot.run(1, "b")
    [listed] = read(muster("dead-letters", "list", "--json"))
    assert (listed["id"], listed["cause"]) == (f"{run}#each[1]", "b is broken")
    whole = read(muster("dead-letters", "show", listed["id"], "--json"))
    assert (whole["item"], whole["inputs"]["names"]) == ("b", ["a", "b", "c", "d", "e"])
    assert [event["type"] for event in whole["events"]][-2:] == ["step.started", "step.failed"]
    for words in (["list"], ["show", listed["id"]]):
        assert "b is broken" in muster("dead-letters", *words).stdout

    dry = muster("dead-letters", "discard", "--step", "each", "--reason", "paid", "--dry-run")
    assert f"Would discard {run}#each[1]" in dry.stdout
    assert len(read(muster("dead-letters", "list", "--json"))) == 1
    muster("dead-letters", "discard", listed["id"], "--reason", "paid", "--as", "ada")
    assert muster("dead-letters", "list").stdout.strip() == "There are no dead letters."
    event = list(depot.site.services.log.read(run))[-1]
    assert (event.type, event.actor, event.data["reason"]) == ("dead_letter.discarded", "ada", "paid")


def test_a_redrive_of_what_was_discarded_is_refused_and_changes_nothing(muster: Muster, depot: Depot) -> None:
    run = depot.run(1, "b")
    muster("dead-letters", "discard", f"{run}#each[1]", "--reason", "paid")
    before = depot.site.state(run).version
    result = muster("dead-letters", "redrive", f"{run}#each[1]")
    assert result.exit_code == 1
    assert "was discarded; nothing was changed" in result.stderr
    assert depot.site.state(run).version == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["redrive"], 1, "Nothing was chosen."),
        (["redrive", "--step", "nothing"], 1, "No dead letter fits."),
        (["show", "x#y"], 1, "There is no dead letter 'x#y'."),
        (["discard", "x#y"], 2, "--reason"),
        (["list", "--older-than", "long"], 2, "'long' is not a duration"),
    ],
)
def test_what_cannot_be_done_is_said(muster: Muster, depot: Depot, words: list[str], code: int, said: str) -> None:
    result = muster("dead-letters", *words)
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr


def test_without_airflow_nothing_is_written(muster: Muster, depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    run = depot.run(1, "b")
    monkeypatch.setenv("AIRFLOW_URL", "http://127.0.0.1:9")
    before = depot.site.state(run).version
    for words in (["dead-letters", "redrive", f"{run}#each[1]"], ["restart", run, "--from", "each"]):
        assert muster(*words).exit_code == 3
    assert depot.site.state(run).version == before


def test_an_unknown_step_or_run_is_not_restarted(muster: Muster, depot: Depot) -> None:
    run = depot.run(1, "b")
    assert "has no step 'eech'" in muster("restart", run, "--from", "eech").stderr
    assert "There is no run 'never'" in muster("restart", "never", "--from", "each").stderr


def test_what_is_personal_is_shown_to_whoever_holds_the_key(
    muster: Muster, depot: Depot, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_MASTER_KEY", b64encode(MASTER).decode())
    source = AUTOMATION.format(pack=1).replace(
        "inputs:", 'personal: {subject: "{{ inputs.names }}", fields: [inputs.names, steps.each.output]}\ninputs:'
    )
    (depot.folder / "b.broken").touch()
    run = depot.site.run(depot.site.definition(source), folder=str(depot.folder), names=["Jane Roe", "b"])
    assert "Jane Roe" not in str([event.data for event in EventLog(database).read(run)]), "sealed in the log"
    whole = read(muster("dead-letters", "show", f"{run}#each[1]", "--json"))
    assert (whole["item"], whole["inputs"]["names"]) == ("b", ["Jane Roe", "b"])
    failed = next(event for event in whole["events"] if event["type"] == "step.failed")
    assert failed["data"]["error"]["message"] == "b is broken"
