"""A deadline's notice, run by Airflow's own callback trigger."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk import AsyncCallback
from airflow.triggers.callback import CallbackTrigger
from psycopg.conninfo import conninfo_to_dict

from muster.database import Database
from muster.notifications import Outbox
from muster_airflow.notifiers import MusterNotifier
from support.slack import slack_server

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


async def fire(**kwargs: Any) -> dict[str, Any]:
    """What the triggerer reports after a missed deadline."""
    callback = AsyncCallback(MusterNotifier, kwargs=kwargs)
    trigger = CallbackTrigger(callback.path, {**callback.kwargs, "context": dict(CONTEXT)})
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


async def test_a_runs_data_is_never_read_as_a_template(database: Database) -> None:
    await fire(notify=[{"slack": "#ops", "text": "conf is {{ dag_run.conf.x }}"}])
    [entry] = Outbox(database).entries()
    assert entry.text == "conf is {{ 7 * 7 }}"
