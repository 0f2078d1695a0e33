"""`muster dead-letters` shows what waits whole, and changes nothing that it should not."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from muster.cli import carrying_out
from muster.database import Database
from muster.errors import PermanentError
from muster.events.log import EventLog
from muster.local.client import Unreachable
from muster.notifications import Sender
from muster.notifications.model import Delivery, Notice
from muster.operations.redoing import Plan
from support.children import Family, step
from support.command import Muster, read
from support.depot import AUTOMATION, Depot
from support.reconciled import FakeAirflow, found
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


class Airflow:
    """Airflow as a redrive asks it: every run has ended there."""

    def __init__(self) -> None:
        self.cleared: list[str] = []
        self.states: dict[str, str] = {}
        self.loses: set[str] = set()

    def __enter__(self) -> Airflow:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        return {"state": self.states.get(run_id, "failed")}

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        return [{"task_id": "close"}, {"task_id": "last"}]

    def clear(self, dag_id: str, run_id: str, tasks: list[Any], *, latest: bool) -> int:
        assert not latest
        if run_id in self.loses:
            raise Unreachable("Airflow does not answer.")
        self.cleared.append(run_id)
        return len(tasks)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    made = Airflow()
    monkeypatch.setattr(carrying_out, "airflow", lambda user: made)
    return made


def test_one_run_that_is_refused_keeps_no_other_back(muster: Muster, depot: Depot, airflow: Airflow) -> None:
    runs = [depot.run(1, "b") for _ in range(4)]
    depot.redrive(runs[0], each=[1])
    airflow.states[runs[1].partition("/")[2]] = "running"
    result = muster("dead-letters", "redrive", *(f"{run}#each[1]" for run in runs), "--json")
    said = read(result)
    assert result.exit_code == 1
    assert said["letters"] == [f"{run}#each[1]" for run in runs[2:]]
    assert list(said["refused"]) == [f"{run}#each[1]" for run in runs[:2]]
    assert "goes on already: ada has redriven each[1]" in said["refused"][f"{runs[0]}#each[1]"]
    assert "has not ended in Airflow" in said["refused"][f"{runs[1]}#each[1]"]
    assert list(said["tasks"]) == runs[2:]
    assert airflow.cleared == [run.partition("/")[2] for run in runs[2:]]
    [kept] = [depot.site.state(run).redriven for run in runs[1:2]]
    assert kept == {}


def test_who_orders_at_the_same_moment_keeps_no_other_run_back(
    muster: Muster, depot: Depot, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [depot.run(1, "b") for _ in range(2)]
    right = carrying_out.order

    def order(log: EventLog, plan: Plan) -> None:
        if plan.run == runs[0]:
            right(log, plan)
        right(log, plan)

    monkeypatch.setattr(carrying_out, "order", order)
    result = muster("dead-letters", "redrive", *(f"{run}#each[1]" for run in runs))
    assert (result.exit_code, f"Redriven {runs[1]}#each[1]" in result.stdout) == (1, True)
    assert f"Redriven {runs[0]}" not in result.stdout
    assert f"Refused {runs[0]}#each[1]: Somebody else" in result.stderr
    assert airflow.cleared == [runs[1].partition("/")[2]]


def test_once_airflow_is_lost_nothing_more_is_ordered(muster: Muster, depot: Depot, airflow: Airflow) -> None:
    runs = [depot.run(1, "b") for _ in range(3)]
    airflow.loses = {runs[1].partition("/")[2]}
    result = muster("dead-letters", "redrive", *(f"{run}#each[1]" for run in runs), "--json")
    said = read(result)
    assert (result.exit_code, said["letters"]) == (1, [f"{runs[0]}#each[1]"])
    assert "It is recorded that" in said["refused"][f"{runs[1]}#each[1]"]
    assert "Nothing was changed" in said["refused"][f"{runs[2]}#each[1]"]
    assert [bool(depot.site.state(run).redriven) for run in runs] == [True, True, False]


def test_a_discard_of_several_goes_on_past_what_is_refused(muster: Muster, depot: Depot) -> None:
    runs = [depot.run(1, "b") for _ in range(2)]
    muster("dead-letters", "discard", f"{runs[0]}#each[1]", "--reason", "paid")
    result = muster("dead-letters", "discard", *(f"{run}#each[1]" for run in runs), "--reason", "paid", "--json")
    assert result.exit_code == 1
    assert read(result)["letters"] == [f"{runs[1]}#each[1]"]
    assert list(read(result)["refused"]) == [f"{runs[0]}#each[1]"]
    assert muster("dead-letters", "list").stdout.strip() == "There are no dead letters."


def silent(depot: Depot) -> str:
    """A run that failed without a word of any step."""
    run = depot.site.open(depot.site.definition(AUTOMATION.format(pack=1)), folder="", names=[])
    depot.site.close(run, {"first": "failed"})
    return run


def test_a_run_that_failed_without_a_word_is_discarded_and_not_redriven(muster: Muster, depot: Depot) -> None:
    run = silent(depot)
    refused = muster("dead-letters", "redrive", run)
    assert (refused.exit_code, f"muster restart {run} --from STEP" in refused.stderr) == (1, True)
    assert muster("dead-letters", "discard", "--run", run, "--reason", "nobody needs it", "--as", "ada").exit_code == 0
    assert muster("dead-letters", "list").stdout.strip() == "There are no dead letters."
    [listed] = read(muster("dead-letters", "list", "--discarded", "--json"))
    assert (listed["id"], listed["decision"]) == (run, "discarded")
    event = list(depot.site.services.log.read(run))[-1]
    assert (event.type, event.actor, event.data) == (
        "dead_letter.discarded",
        "ada",
        {"pieces": {}, "whole": True, "reason": "nobody needs it"},
    )
    assert muster("replay", run).exit_code == 0, "the projections agree with the log"
    assert muster("show", run).exit_code == 0
    assert "was discarded" in muster("dead-letters", "discard", run, "--reason", "again").stderr


class Gone:
    """A channel that refuses for good, until it does not."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.refuses = True

    async def send(self, notice: Notice) -> Delivery:
        if self.refuses:
            raise PermanentError("no such channel")
        self.sent.append(notice.key)
        return Delivery(delivered_by="slack", target=notice.target, reference="1")


@pytest.fixture
def sender(depot: Depot) -> Sender:
    """Of a notice that its channel has refused."""
    channel = Gone()
    sender = Sender(depot.site.services.database, {"slack": channel})
    with pytest.raises(PermanentError):
        depot.site.do(sender.send(Notice(key="k", channel="slack", target="#ops", text="look")))
    channel.refuses = False
    return sender


def test_a_notice_is_redriven_and_sent_by_the_reconciler_under_its_own_key(
    muster: Muster, depot: Depot, sender: Sender, database: Database
) -> None:
    # Longer ago than the reconciler sends anything again by itself.
    with database.connection() as connection:
        connection.execute("UPDATE outbox SET created_at = created_at - interval '3 days'")
    assert "Would redrive notice/1" in muster("dead-letters", "redrive", "notice/1", "--dry-run").stdout
    assert found(depot.site, FakeAirflow(), send=lambda notice: depot.site.do(sender.send(notice)))[0].mended is False
    result = muster("dead-letters", "redrive", "notice/1", "--as", "ada")
    assert (result.exit_code, "The reconciler sends the notices" in result.stdout) == (0, True)
    assert muster("dead-letters", "list").stdout.strip() == "There are no dead letters."
    [sent] = found(depot.site, FakeAirflow(), send=lambda notice: depot.site.do(sender.send(notice)))
    assert (sent.mended, sent.subject) == (True, "k")
    entry = sender.outbox.entry(1)
    assert entry is not None
    assert (entry.status, entry.attempts) == ("sent", 2)


def test_a_notice_is_discarded_with_who_and_why_and_never_sent(muster: Muster, depot: Depot, sender: Sender) -> None:
    run = depot.run(1, "b")
    ids = ["notice/1", f"{run}#each[1]"]
    said = read(muster("dead-letters", "discard", *ids, "--reason", "told by phone", "--as", "ada", "--json"))
    assert (said["letters"], said["refused"]) == (ids, {})
    assert found(depot.site, FakeAirflow("success"), send=lambda notice: depot.site.do(sender.send(notice))) == []
    assert muster("dead-letters", "list").stdout.strip() == "There are no dead letters."
    whole = read(muster("dead-letters", "show", "notice/1", "--json"))
    assert (whole["decision"], whole["notice"]["status"]) == ("discarded", "kept")
    assert whole["notice"]["note"] == "Discarded by ada: told by phone"
    for words in (["redrive"], ["discard", "--reason", "again"]):
        again = muster("dead-letters", *words, "notice/1")
        assert (again.exit_code, "nothing was changed" in again.stderr) == (1, True)


def test_a_notice_of_which_nothing_is_left_is_not_sent(muster: Muster, sender: Sender, database: Database) -> None:
    with database.connection() as connection:
        connection.execute("UPDATE outbox SET text = '[forgotten]', target = '[forgotten]', error = NULL")
    assert muster("dead-letters", "redrive", "notice/1").exit_code == 1
    assert muster("dead-letters", "discard", "notice/1", "--reason", "forgotten").exit_code == 0


def test_without_airflow_nothing_is_written(muster: Muster, depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    run = depot.run(1, "b")
    monkeypatch.setenv("AIRFLOW_URL", "http://127.0.0.1:9")
    before = depot.site.state(run).version
    for words in (["dead-letters", "redrive", f"{run}#each[1]"], ["restart", run, "--from", "each"]):
        assert muster(*words).exit_code == 3
    assert depot.site.state(run).version == before


APART = """automation: tested
inputs: {folder: {type: string}}
steps:
  - {id: one, skill: depot.work, with: {name: one, folder: "{{ inputs.folder }}"}, UNDO}
  - {id: two, after: [], skill: depot.work, with: {name: two, folder: "{{ inputs.folder }}"}, UNDO}
  - {id: last, after: [one, two], skill: depot.work, with: {name: last, folder: "{{ inputs.folder }}"}}
""".replace("UNDO", "compensate: {skill: depot.work, with: {name: undo, folder: '{{ inputs.folder }}'}}")


def test_what_a_restart_does_again_besides_is_said_before_it_is_ordered(
    muster: Muster, depot: Depot, airflow: Airflow
) -> None:
    (depot.folder / "last.broken").touch()
    run = depot.site.open(depot.site.definition(APART), folder=str(depot.folder))
    for name in ("one", "two", "last"):
        depot.site.step(run, name)
    depot.site.unwind(run)
    depot.site.close(run)
    before = depot.site.state(run).version
    dry = muster("restart", run, "--from", "two", "--dry-run")
    said = f"{run}: would also be done again: one, because step one was undone, or is to be."
    assert (dry.exit_code, said in " ".join(dry.stdout.split())) == (0, True), dry.stdout
    assert depot.site.state(run).version == before
    airflow.loses = {run.partition("/")[2]}
    lost = muster("restart", run, "--from", "two")
    assert (lost.exit_code, "also done again: one, because" in " ".join(lost.stdout.split())) == (3, True), lost.stdout
    assert "It is recorded that" in lost.stderr
    [order] = depot.site.services.log.read(run, types=["run.restarted"])
    assert order.data["also"] == ["one"]
    again = muster("restart", run, "--from", "last")
    assert "goes on already: admin has restarted it from two, one" in " ".join(again.stderr.split())


def test_by_a_filter_the_run_below_is_redriven_and_not_whoever_asked_for_it(
    muster: Muster, tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    monkeypatch.setattr(carrying_out, "airflow", lambda user: Airflow())
    (tmp_path / "site").mkdir()
    family = Family(
        tmp_path / "site",
        database,
        {
            "parent": "steps:\n  - {id: deliver, each: '{{ [1, 2] }}', run: child}\n",
            "child": "steps:\n" + step("pay", undo=False) + step("tell", undo=False),
        },
    )
    run = family.open("parent")
    family.depot.broken.add("tell")
    for slot in range(family.site.expand(run, "deliver")):
        child = family.begin(family.ask(run, "deliver", slot))
        family.play(child)
        family.follow(run, "deliver", slot)
        family.depot.broken.clear()
    family.finish(run)
    result = muster("dead-letters", "redrive", "--error", "ChildFailed")
    assert (result.exit_code, "asks for another run" in " ".join(result.stderr.split())) == (1, True)
    done = read(muster("dead-letters", "redrive", "--older-than", "0s", "--dry-run", "--json"))
    assert ([it.endswith("#tell") for it in done["letters"]], list(done["refused"])) == ([True], [f"{run}#deliver[0]"])
    assert muster("dead-letters", "redrive", f"{run}#deliver[0]", "--dry-run").exit_code == 0


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
