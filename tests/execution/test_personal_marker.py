"""Promise: a text about a person that goes through everything a run has is found nowhere but where the guide says so,
and nowhere at all in Muster's own places once the person is forgotten.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from psycopg import sql

from muster.approvals import asking
from muster.approvals.decisions import Reply, respond
from muster.database import Database
from muster.errors import MusterError
from muster.events.log import EventLog
from muster.events.personal import Vault
from muster.events.rebuild import rebuild
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.local.airflow import connection_json
from muster.notifications import Notice, Outbox, Sender
from muster.operations.cancelling import request_cancel
from muster.operations.forgetting import forget
from muster.operations.reconciling import Scope
from muster.operations.reconciling.notices import find_notices
from muster.recovery.breakers import breakers_of
from muster_airflow import egress
from muster_airflow.channels import channels
from muster_airflow.notifiers import MusterNotifier
from support.agent_services import OneServer
from support.children import Family
from support.model_server import ModelServer
from support.reconciled import FakeAirflow
from support.runs import MASTER
from support.smtp import Mailbox, smtp_server
from support.sources import source_of

MARKER = "zqx-jane-4711"
MAIL = f"{MARKER}@example.com"

SKILLS = source_of(__file__, "personal_marker")
AGENTS = """
department: office
agents:
  - {id: clerk, role: You judge., tiers: [small, large], retries: 0, tools: [people.greet]}
"""
CHILD = """
inputs: {about: {type: string}}
steps:
  - {id: greet, skill: people.greet, with: {text: "{{ inputs.about }}"}}
  - {id: fail, skill: people.check, with: {part: "{{ steps.greet }} two"}, retry: {times: 0}}
"""
PARENT = """
incidents: [{email: incidents@example.com}]
inputs: {who: {type: string}, names: {type: array, default: []}}
personal: {subject: "{{ inputs.who }}", fields: [inputs.who]}
steps:
  - {id: read, skill: people.read, with: {text: "{{ inputs.who }}"},
     compensate: {skill: people.undo, with: {text: "{{ output.text }}"}, retry: {times: 1, delay: 0s}}}
  - {id: check, after: [read], each: "{{ steps.read.parts }}", when: "{{ item != 'none' }}", pack: all,
     skill: people.check, with: {part: "{{ item }}"}, retry: {times: 1, delay: 0s}}
  - {id: charge, after: [read], skill: people.charge, with: {text: "{{ inputs.who }}"}}
  - {id: call, after: [read], skill: people.call, with: {text: "{{ inputs.who }}"}, retry: {times: 0}}
  - {id: mail, after: [read], skill: people.mail, with: {text: "{{ inputs.who }}"}, retry: {times: 0}}
  - {id: judge, after: [read], agent: clerk, ask: "Judge {{ inputs.who }}", retry: {times: 1, delay: 0s}}
  - {id: pay, after: [read], human: {ask: "Pay {{ inputs.who }}?", details: "It is {{ inputs.who }}.",
     assignees: [lead], within: 1h, remind: [10m, 20m], notify: [{email: "{{ inputs.who }}@example.com"}]}}
  - {id: tell, after: [read], notify: [{email: "{{ inputs.who }}@example.com", text: "Dear {{ inputs.who }}"}]}
  - {id: lock, after: [read], skill: people.greet, lock: ["person/{{ inputs.who }}"], with: {text: "{{ inputs.who }}"}}
  - {id: deliver, after: [read], run: child, with: {about: "{{ inputs.who }}"}}
"""
BEFORE = {"outbox", "arrivals"}
"""Tables that hold such texts until the person is forgotten: what is still to be sent, and the names of files."""


def found_in(database: Database) -> Iterator[str]:
    """Every row that holds the marker: the table's name, and the row."""
    with database.connection() as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            )
        ]
        assert len(tables) >= 15
        for table in tables:
            rows = connection.execute(sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(table)))
            yield from (f"{table}: {row}" for (row,) in rows if holds(row))
        contents = connection.execute("SELECT content FROM objects").fetchall()
        yield from ("objects: content" for (content,) in contents if holds(bytes(content).decode(errors="replace")))


def holds(text: str) -> bool:
    return MARKER in text.lower() or MARKER.encode().hex() in text.lower()


def files_with(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if holds(path.name) or (path.is_file() and holds(path.read_bytes().decode(errors="replace")))
    )


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Mailbox]:
    """A mail server that refuses everybody for now, and says whom."""
    caplog.set_level(logging.WARNING, logger="mail.log")  # The other side's own.
    with smtp_server(tmp_path) as mailbox:
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "muster@example.org"}
        fields = {"conn_type": "smtp", "host": "127.0.0.1", "port": mailbox.port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_MUSTER_SMTP", json.dumps(fields))
        mailbox.refuse_recipient = f"450 {MAIL} is greylisted"
        yield mailbox


@pytest.fixture
def family(tmp_path: Path, database: Database, server: ModelServer, mailbox: Mailbox) -> Family:
    family = Family(
        tmp_path,
        database,
        {"parent": PARENT, "child": CHILD},
        models=OneServer({"small": server.url, "large": server.url}),
        skills={"people": SKILLS},
        agents=AGENTS,
    )
    services = family.site.services
    family.site.services = replace(services, notices=Sender(database, channels(), seals=services.log.aseals))
    return family


def whole(family: Family, server: ModelServer, mailbox: Mailbox) -> tuple[str, str]:
    """A run that does everything a run can, each with the marker in it; its id, and its child's."""
    site = family.site
    run = family.open("parent", who=MARKER)
    server.script(
        {"status": 400, "body": {"error": {"message": f"no {MARKER}"}}},
        {"call": {"name": "people_greet", "arguments": {"text": MARKER}}},
        {"status": 400, "body": {"error": {"message": f"no {MARKER}"}}},
        {"status": 400, "body": {"error": {"message": f"no {MARKER}"}}},
    )
    for step in ("read", "check", "charge", "call", "mail", "judge", "tell", "lock"):
        site.step(run, step)

    async def answered() -> None:
        work_item = await begin(site.services, WorkRef(run=run, step="pay"))
        assert isinstance(work_item, WorkItem)
        await asking.request(site.services, work_item)
        for minutes, answer in ((11, f"550 no {MAIL} here"), (21, f"450 {MAIL} is greylisted")):
            mailbox.refuse_recipient = answer
            later = datetime.now(UTC) + timedelta(minutes=minutes)
            await asking.look(replace(site.services, clock=lambda: later), work_item.ref)  # noqa: B023
        reply = Reply(approved=True, by="lead", at=site.services.clock(), note=f"{MARKER} is fine")
        await respond(site.services, work_item, reply)

    site.do(answered())
    child = family.ask(run, "deliver")
    family.begin(child)
    for step in ("greet", "fail"):
        site.step(child.run, step)
    family.finish(child.run)
    family.follow(run, "deliver")
    request_cancel(site.services.log, run, by="lead", reason=f"{MARKER} called")
    family.finish(run)
    assert site.state(run).status == "stuck"
    return run, child.run


def late(database: Database, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Airflow's callbacks and the reconciler do about it, with nobody else's work around them."""
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(database.dsn))
    monkeypatch.setenv("MUSTER_MASTER_KEY", base64.b64encode(MASTER).decode())
    dag, _, dag_run = run.partition("/")
    context = {"dag_run": {"dag_id": dag, "dag_run_id": dag_run, "state": "running"}}
    with pytest.raises(MusterError, match="TransientError"):
        MusterNotifier(notify=[{"email": MAIL}], text="late").notify(context)  # type: ignore[arg-type]
    tried = {entry.key: entry.attempts for entry in Outbox(database).entries(status="failed")}
    from muster_airflow.services import services_in_worker

    services = services_in_worker({"ti": None})  # type: ignore[arg-type,typeddict-item]
    breakers_of(database).reset("host:email")
    now = datetime.now(UTC) + timedelta(hours=1)
    send = partial(_sent, services)
    said = list(find_notices(Scope(database=database, airflow=FakeAirflow(), now=now, send=send)))
    assert not holds(str(said))
    again = {entry.key: entry.attempts for entry in Outbox(database).entries(status="failed")}
    assert any(again[key] > tried[key] for key in again), "some were sent again"


def _sent(services: Services, notice: Notice) -> None:
    services.database.run(services.notices.send(notice))


def test_a_text_about_a_person_is_found_nowhere_and_once_forgotten_nowhere_at_all(
    family: Family,
    server: ModelServer,
    mailbox: Mailbox,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    egress.withhold_log_lines()
    run, child = whole(family, server, mailbox)
    late(database, run, monkeypatch)
    said = capsys.readouterr()
    assert not holds(caplog.text + said.out + said.err)
    assert egress.LINE in caplog.text, "it was said, and withheld"
    site, artifacts = family.site, family.site.services.artifacts
    state = site.state(run)
    assert state.step("read").output["text"] == MARKER, "who holds the key reads it"
    assert MARKER in str(state.step("charge").whole.error), "the errors were told as they are"
    assert state.step("mail").whole.error["message"].endswith(f"{MARKER} has no mailbox"), "its threads came so far"
    assert [event.type for event in site.services.log.read(run)].count("model.called") == 1
    assert site.state(child).step("greet").output == f"Hello {MARKER}"
    refused = [entry for entry in Outbox(database).entries(run=run) if holds(entry.error or "")]
    occasions = {entry.key.removeprefix(f"{run}/").rpartition("@")[0] or entry.key for entry in refused}
    assert {"pay/reminded/0", "pay/reminded/1", "stuck"} <= occasions
    assert [row for row in found_in(database) if row.partition(":")[0] not in BEFORE] == []
    assert all(path.endswith("letter.txt") for path in files_with(artifacts))

    with database.connection() as connection:
        connection.execute("UPDATE breakers SET error = %s", [f"TransientError: as it was kept once: {MARKER}"])
    done = forget(database, Vault(lambda: MASTER), MARKER, by="officer", artifacts=artifacts)
    assert done.runs == 2, "the child is about the same person"
    assert list(found_in(database)) == []
    assert files_with(artifacts) == []
    assert "letter" not in str([path.name for path in artifacts.rglob("*")])
    assert MARKER not in str([event.data for name in (run, child) for event in site.services.log.read(name)])
    assert list(EventLog(database).verify_all()) == []


def test_the_rows_of_a_run_about_somebody_are_made_anew_the_same(
    family: Family, server: ModelServer, mailbox: Mailbox, database: Database
) -> None:
    whole(family, server, mailbox)

    def rows() -> list[object]:
        with database.connection() as connection:
            return [
                connection.execute(f"SELECT t::text FROM {table} AS t ORDER BY 1").fetchall()
                for table in ("runs", "steps")
            ]

    before = rows()
    assert "personal data" in str(before)
    assert "$personal" not in str(before), "a screen shows words, not ciphertext"
    rebuild(database)
    assert rows() == before
    forget(database, Vault(lambda: MASTER), MARKER, by="officer")
    rebuild(database)
    assert rows() == before
