"""A deadline's notice, run by Airflow's own callback trigger."""

from __future__ import annotations

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import AsyncCallback
from airflow.triggers.callback import CallbackTrigger
from psycopg.conninfo import conninfo_to_dict

from muster.database import Database
from muster.events.model import EventType, NewEvent
from muster.events.personal import Vault
from muster.notifications import Outbox
from muster.operations.forgetting import forget
from muster_airflow.notifiers import MusterNotifier
from support.outbox import lost_as_it_is_written
from support.runs import MASTER, Site
from support.slack import slack_server
from support.stuck import AUTOMATION, SKILLS, stuck

CONTEXT = {
    "dag_run": {
        "dag_id": "invoice_processing",
        "dag_run_id": "manual__1",
        "state": "running",
        "conf": {"x": "{{ 7 * 7 }}"},
    },
    "deadline": {"id": "0199-a", "deadline_time": "2030-01-01T00:00:00Z"},
}


@pytest.fixture(autouse=True)
def muster_db(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    """The connection to Muster's database, and no channel."""
    parts = conninfo_to_dict(dsn)
    names = {"host": "host", "port": "port", "schema": "dbname", "login": "user", "password": "password"}
    fields = {"conn_type": "postgres"} | {field: parts.get(part) for field, part in names.items()}
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", json.dumps(fields))
    for name in ("MUSTER_SLACK", "MUSTER_SLACK_OPS", "MUSTER_SMTP"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}", raising=False)


async def fire(context: dict[str, Any] = CONTEXT, **kwargs: Any) -> dict[str, Any]:
    """What the triggerer reports after a missed deadline."""
    callback = AsyncCallback(MusterNotifier, kwargs=kwargs)
    trigger = CallbackTrigger(callback.path, {**callback.kwargs, "context": dict(context)})
    events = [event.payload async for event in trigger.run()]
    return dict(events[-1])


async def test_a_missed_deadline_reaches_the_outbox_in_plain_words(database: Database) -> None:
    report = await fire(
        notify=[{"slack": "#ops"}, {"email": "ops@example.com", "subject": "Late: {{ dag_run.dag_id }}"}],
        within="30m",
    )
    assert report["state"] == "success"
    mail, slack = Outbox(database).entries(run="invoice_processing/manual__1")
    assert slack.text == "invoice_processing has not finished within 30m: run manual__1 is running."
    assert (slack.status, slack.channel, slack.target) == ("kept", "slack", "#ops")
    assert (mail.subject, mail.target) == ("Late: invoice_processing", "ops@example.com")


async def test_a_callback_that_runs_twice_tells_people_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slack_server() as slack:
        monkeypatch.setenv(
            "AIRFLOW_CONN_MUSTER_SLACK", json.dumps({"conn_type": "slackwebhook", "password": slack.url})
        )
        for _ in range(2):
            assert (await fire(notify=[{"slack": "#ops"}]))["state"] == "success"
        assert len(slack.messages) == 1
    [entry] = Outbox(database).entries()
    assert (entry.status, entry.attempts) == ("sent", 1)


async def test_one_notice_that_fails_does_not_keep_the_others_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slack_server() as slack:
        slack.answers = [(404, "no_service", {})]
        monkeypatch.setenv(
            "AIRFLOW_CONN_MUSTER_SLACK", json.dumps({"conn_type": "slackwebhook", "password": slack.url})
        )
        report = await fire(notify=[{"slack": "#ops"}, {"slack": "#finance"}])
        assert [message["text"] for message in slack.messages] != []
    assert report["state"] == "failed"
    assert "no_service" in report["body"]
    assert {entry.target: entry.status for entry in Outbox(database).entries()} == {
        "#ops": "failed",
        "#finance": "sent",
    }


@pytest.mark.parametrize("places", [1, 2])
async def test_a_database_that_is_away_as_a_deadline_is_missed_keeps_nobody_from_being_told(
    database: Database, places: int
) -> None:
    lost_as_it_is_written(database)
    told = [{"slack": "#ops"}, {"email": "ops@example.com"}][:places]
    assert (await fire(notify=told))["state"] == "success"
    assert len(Outbox(database).entries()) == places


async def test_one_address_that_is_none_does_not_keep_the_others_back(database: Database) -> None:
    report = await fire(notify=[{"email": "Ops <ops@example.com>"}, {"slack": "#ops"}])
    assert [entry.target for entry in Outbox(database).entries()] == ["#ops"]
    assert report["state"] == "failed"
    assert "is not one e-mail address" in report["body"]


@pytest.mark.parametrize("about", ["nobody", "somebody"])
def test_where_no_address_is_one_the_common_channel_is_told(tmp_path: Path, database: Database, about: str) -> None:
    """Of a run about somebody only where to look: nobody named that channel for it."""
    site = Site(tmp_path, database)
    site.skills("depot", SKILLS)
    personal = "inputs: {who: {default: Max}}\npersonal: {subject: '{{ inputs.who }}'}\n" * (about == "somebody")
    run = site.open(site.definition(AUTOMATION.replace("steps:", f"{personal}steps:")))
    context = missed(run, at=datetime.now(UTC) + timedelta(minutes=1))
    notify = [{"email": "Ops <ops@example.com>"}, {"email": "nobody"}]
    report = site.do(fire(context, notify=notify, text="Max is late", subject="Max"))
    [entry] = Outbox(database).entries()
    assert (entry.target, entry.run) == ("#incidents", run)
    assert ("Max" in f"{entry.subject} {entry.text}") == (about == "nobody")
    assert report["state"] == "failed"
    assert ("is not one e-mail address" in report["body"]) == (about == "nobody")


def test_of_whom_is_forgotten_meanwhile_no_further_notice_says_a_word(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_MASTER_KEY", base64.b64encode(MASTER).decode())
    site = Site(tmp_path, database)
    site.skills("depot", SKILLS)
    personal = "inputs: {who: {default: Max}}\npersonal: {subject: '{{ inputs.who }}'}\nsteps:"
    run = site.open(site.definition(AUTOMATION.replace("steps:", personal)))
    context = missed(run, at=datetime.now(UTC) + timedelta(minutes=1))
    with slack_server() as slack, ThreadPoolExecutor(1) as pool:
        slack.gate = threading.Event()
        connection = {"conn_type": "slackwebhook", "password": slack.url}
        monkeypatch.setenv("AIRFLOW_CONN_MUSTER_SLACK", json.dumps(connection))
        notify = [{"slack": "#ops"}, {"slack": "#depot"}]
        told = pool.submit(site.do, fire(context, notify=notify, text="Max is late", within="30m"))
        until = time.monotonic() + 30
        while not Outbox(database).entries(run=run) and time.monotonic() < until:
            time.sleep(0.05)
        forget(database, Vault(lambda: MASTER), "Max", by="officer")
        slack.gate.set()
        assert told.result(60)["state"] == "success"
    assert [message["text"] for message in slack.messages] == [
        "Max is late",
        f"{run} has not finished within 30m.",
    ]
    assert {entry.target: entry.text for entry in Outbox(database).entries(run=run)} == {
        "[forgotten]": "[forgotten]",
        "#depot": f"{run} has not finished within 30m.",
    }


async def test_a_subject_that_is_none_keeps_nobody_from_being_told(database: Database) -> None:
    await fire(notify=[{"slack": "#ops"}], subject="two\nlines")
    [entry] = Outbox(database).entries()
    assert (entry.target, entry.subject) == ("#incidents", "")


async def test_a_runs_data_is_never_read_as_a_template(database: Database) -> None:
    await fire(notify=[{"slack": "#ops", "text": "conf is {{ dag_run.conf.x }}"}])
    [entry] = Outbox(database).entries()
    assert entry.text == "conf is {{ 7 * 7 }}"


def missed(run: str, *, at: datetime, ended: datetime | None = None) -> dict[str, Any]:
    """What Airflow gives the callback of a deadline that passed at a moment."""
    dag, _, dag_run = run.partition("/")
    shown = {"dag_id": dag, "dag_run_id": dag_run, "state": "failed", "end_date": ended and ended.isoformat()}
    return {"dag_run": shown, "deadline": {"id": run, "deadline_time": at.isoformat()}}


def ended(site: Site, end: str) -> str:
    """A run that ended in one of the ways there are."""
    source = (
        "automation: a\nsteps:\n  - {id: one, skill: depot.act, with: {name: NAME}, compensate: {skill: depot.undo}}\n"
    )
    (site.include / "mended").unlink(missing_ok=True)
    if end == "stuck":
        return stuck(site)
    if end == "compensated":
        run = site.open(site.definition(AUTOMATION))
        site.step(run, "one")
        site.step(run, "two")
        (site.include / "mended").touch()
        assert site.unwind(run) == "succeeded"
    else:
        run = site.open(site.definition(source.replace("NAME", "bad" if end == "failed" else "good")))
        if end == "cancelled":
            request = NewEvent(type=EventType.RUN_CANCEL_REQUESTED, data={"reason": "no need"}, actor="ann")
            site.services.log.append(run, [request])
        site.step(run, "one")
    site.close(run)
    return run


@pytest.mark.parametrize("end", ["succeeded", "failed", "compensated", "cancelled"])
def test_of_a_run_that_ended_in_time_nobody_is_told(tmp_path: Path, database: Database, end: str) -> None:
    site = Site(tmp_path, database)
    site.skills("depot", SKILLS)
    run = ended(site, end)
    closed = site.state(run).closed_at
    assert closed is not None
    late, early = closed + timedelta(seconds=1), closed - timedelta(seconds=0.001)
    assert site.do(fire(missed(run, at=late), notify=[{"slack": "#ops"}]))["state"] == "success"
    assert Outbox(database).entries() == []
    assert site.do(fire(missed(run, at=early), notify=[{"slack": "#ops"}]))["state"] == "success"
    assert [entry.run for entry in Outbox(database).entries()] == [run], "one that ended too late was late"


def test_of_a_stuck_run_people_are_told_since_it_has_not_ended(tmp_path: Path, database: Database) -> None:
    site = Site(tmp_path, database)
    site.skills("depot", SKILLS)
    run = ended(site, "stuck")
    site.do(fire(missed(run, at=datetime.now(UTC) + timedelta(minutes=1)), notify=[{"slack": "#ops"}]))
    assert [
        entry.target for entry in Outbox(database).entries(run=run) if entry.key.startswith(f"{run}/deadline/")
    ] == ["#ops"]


def test_a_run_that_was_restarted_before_its_deadline_has_not_ended_at_it(tmp_path: Path, database: Database) -> None:
    site = Site(tmp_path, database)
    site.skills("depot", SKILLS)
    run = ended(site, "failed")
    closed = site.state(run).closed_at
    assert closed is not None
    order = NewEvent(type=EventType.RUN_RESTARTED, data={"step": "one", "epoch": 1, "stands": []}, actor="ann")
    (restarted,) = site.services.log.append(run, [order])
    between = closed + (restarted.at - closed) / 2
    site.do(fire(missed(run, at=between), notify=[{"slack": "#ops"}]))
    assert Outbox(database).entries() == [], "restarted later: at the deadline it had ended"
    site.do(fire(missed(run, at=restarted.at + timedelta(minutes=1)), notify=[{"slack": "#ops"}]))
    assert len(Outbox(database).entries()) == 1


def test_of_a_run_that_was_ended_before_it_was_opened_airflow_is_asked(tmp_path: Path, database: Database) -> None:
    site, now = Site(tmp_path, database), datetime.now(UTC)
    site.do(fire(missed("a/ended", at=now, ended=now - timedelta(seconds=5)), notify=[{"slack": "#ops"}]))
    assert Outbox(database).entries() == []
    site.do(fire(missed("a/queued", at=now), notify=[{"slack": "#ops"}]))
    assert len(Outbox(database).entries()) == 1


def test_where_nobody_can_say_whether_a_run_ended_in_time_people_are_told(tmp_path: Path, database: Database) -> None:
    site = Site(tmp_path, database)
    site.skills("depot", SKILLS)
    run = ended(site, "failed")
    closed = site.state(run).closed_at
    assert closed is not None
    with database.connection() as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        connection.execute(
            """UPDATE events SET data = replace(data::text, '"failed"', '"succeeded"')::json
               WHERE stream = %s AND type = 'run.closed'""",
            [run],
        )
    report = site.do(fire(missed(run, at=closed + timedelta(minutes=1)), notify=[{"slack": "#ops"}]))
    assert report["state"] == "success"
    assert [entry.target for entry in Outbox(database).entries()] == ["#ops"], "an altered log is not believed"
