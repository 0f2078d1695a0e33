"""An open run whose log was altered by hand: nothing of it goes on, whoever reads which part of it; other runs do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from muster.approvals import asking
from muster.approvals.decisions import Reply, respond
from muster.database import Database
from muster.events import canonical
from muster.events.definitions import DefinitionStore
from muster.events.tampering import TamperedLog
from muster.execution import fanout, view
from muster.execution.performing import begin, perform
from muster.execution.personal import RunLog
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.saga import unwinding
from muster.saga.closing import close_run
from support.depot import SKILLS
from support.runs import MASTER, Site

WORK = 'skill: depot.work, with: {{name: "{}", folder: "{{{{ inputs.folder }}}}"}}'
AUTOMATION = f"""
automation: tested
inputs: {{folder: {{type: string}}, names: {{type: array, default: [a, b]}}}}
steps:
  - {{id: first, {WORK.format("first")}, compensate: {{{WORK.format("undo")}}}}}
  - {{id: second, {WORK.format("second")}}}
  - {{id: single, {WORK.format("{{ steps.second }}")}}}
  - {{id: each, each: "{{{{ inputs.names }}}}", {WORK.format("{{ item }}")}}}
  - {{id: pack, pack: all, each: "{{{{ inputs.names }}}}", {WORK.format("{{ item }}")}}}
  - {{id: ask, after: [second], human: {{ask: "Go on?", assignees: [finance-lead]}}}}
"""


def rewritten(connection: psycopg.Connection[Any], run: str) -> None:
    """Another output of `second`, with a hash of its own that is right; only the chain behind it does not fit."""
    row = connection.execute(
        "SELECT version, encode(previous_hash, 'hex'), id, at, type, key, actor, correlation, causation, data::text"
        " FROM events WHERE stream = %s AND type = 'step.succeeded' AND step = 'second'",
        (run,),
    ).fetchone()
    assert row is not None
    version, previous, id, at, type, key, actor, correlation, causation, data = row
    data = data.replace('"second"', '"other"')
    hash = canonical.event_hash(
        previous=previous, stream=run, version=version, id=id, at=canonical.instant(at), type=type, key=key,
        actor=actor, correlation=correlation, causation=causation, data=data,
    )  # fmt: skip
    connection.execute(
        "UPDATE events SET data = %s::text::json, hash = decode(%s, 'hex') WHERE stream = %s AND version = %s",
        (data, hash, run, version),
    )


def swapped(connection: psycopg.Connection[Any], run: str) -> None:
    """Two events in each other's place."""
    for old, new in ((2, 1002), (3, 2), (1002, 3)):
        connection.execute("UPDATE events SET version = %s WHERE stream = %s AND version = %s", (new, run, old))


def statement(sql: str) -> Callable[[psycopg.Connection[Any], str], None]:
    return lambda connection, run: [connection.execute(sql.encode(), (run,)), None][1]


TAMPERED: dict[str, Callable[[psycopg.Connection[Any], str], None]] = {
    "an output was altered": statement(
        "UPDATE events SET data = replace(data::text, '\"second\"', '\"other\"')::json"
        " WHERE stream = %s AND type = 'step.succeeded'"
    ),
    "who asked for it was altered": statement(
        "UPDATE events SET data = replace(data::text, '\"requested_by\":', '\"asked_by\":')::json"
        " WHERE stream = %s AND version = 1"
    ),
    "an output was rewritten with its hash": rewritten,
    "an event belongs to another step": statement(
        "UPDATE events SET step = 'single' WHERE stream = %s AND type = 'step.succeeded' AND step = 'second'"
    ),
    "an event was taken out": statement("DELETE FROM events WHERE stream = %s AND version = 3"),
    "what a step gave was taken out": statement(
        "DELETE FROM events WHERE stream = %s AND type = 'step.succeeded' AND step = 'second'"
    ),
    "the beginning was taken out": statement("DELETE FROM events WHERE stream = %s AND version = 1"),
    "two events changed places": swapped,
    "an event was put in": statement(
        "INSERT INTO events (stream, version, id, at, type, step, key, actor, correlation, previous_hash, hash, data)"
        " SELECT stream, (SELECT max(version) + 1 FROM events WHERE stream = e.stream), gen_random_uuid(), at, type,"
        " 'single', 'single/ended@0', actor, correlation, hash, hash, data FROM events e"
        " WHERE stream = %s AND version = 3"
    ),
    "all is gone": statement("DELETE FROM events WHERE stream = %s"),
}


class Depot:
    """A run that has come half way, and what was really done for it: lines in a file."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.site = Site(folder / "site", database)
        self.site.skills("depot", SKILLS)
        self.marks = folder / "marks"
        self.marks.mkdir()
        self.definition = self.site.definition(AUTOMATION)

    def half_way(self) -> str:
        run = self.site.open(self.definition, folder=str(self.marks))
        for step in ("first", "second"):
            self.site.step(run, step)
        work_item = self.site.do(begin(self.site.services, WorkRef(run=run, step="ask")))
        assert isinstance(work_item, WorkItem)
        self.site.do(asking.request(self.site.services, work_item))
        return run

    def new_process(self) -> None:
        """What comes next is done by one that has seen nothing yet."""
        services = self.site.services
        fresh = {"log": RunLog(services.database, lambda: MASTER), "definitions": DefinitionStore(services.database)}
        self.site.services = replace(services, **fresh)
        for cache in (view._opened, view._definitions, fanout._fan_outs):
            cache.clear()

    def done(self) -> list[str]:
        file = self.marks / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def tamper(self, dsn: str, run: str, how: str) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
            TAMPERED[how](connection, run)
            connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")

    async def answered(self, run: str) -> Any:
        work_item = await begin(self.site.services, WorkRef(run=run, step="ask"))
        assert isinstance(work_item, WorkItem)
        reply = Reply(approved=True, by="finance-lead", at=self.site.services.clock())
        return await respond(self.site.services, work_item, reply)


GOES_ON: dict[str, Callable[[Depot, str], Any]] = {
    "a step": lambda depot, run: depot.site.step(run, "single"),
    "a layout": lambda depot, run: depot.site.expand(run, "each"),
    "an item": lambda depot, run: depot.site.step(run, "each", 0),
    "a pack": lambda depot, run: depot.site.step(run, "pack"),
    "an answer": lambda depot, run: depot.site.do(depot.answered(run)),
    "undoing": lambda depot, run: depot.site.do(
        unwinding.begin(depot.site.services, WorkRef(run=run, step="begin"), {"single": "failed"})
    ),
    "a compensation": lambda depot, run: depot.site.do(
        unwinding.compensate(depot.site.services, WorkRef(run=run, step="first"))
    ),
    "the end": lambda depot, run: depot.site.close(run),
}


@pytest.fixture
def depot(tmp_path: Path, database: Database) -> Depot:
    return Depot(tmp_path, database)


def everything(dsn: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT * FROM events ORDER BY position").fetchall()


@pytest.mark.parametrize("how", TAMPERED)
def test_nothing_of_an_open_run_goes_on_in_any_lane(depot: Depot, dsn: str, how: str) -> None:
    run = depot.half_way()
    depot.tamper(dsn, run, how)
    before, events = depot.done(), everything(dsn)
    said = set()
    for what, go_on in GOES_ON.items():
        depot.new_process()
        with pytest.raises(TamperedLog, match="is not as it was written") as caught:
            go_on(depot, run)
        said.add(str(caught.value))
        assert depot.done() == before, f"{what} was performed"
    assert everything(dsn) == events, "nothing is written into it either"
    assert f"`muster verify {run}`" in said.pop()
    other = depot.half_way()
    for what in ("a step", "an answer", "the end"):
        GOES_ON[what](depot, other)
    assert depot.site.state(other).step("single").status == "succeeded"


def test_a_changed_definition_is_not_carried_out(depot: Depot, dsn: str) -> None:
    run = depot.half_way()
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "UPDATE definitions SET content = replace(replace(content::text, 'finance-lead', 'anybody'),"
            " 'steps.second', 'steps.first')::json"
        )
    before, events = depot.done(), everything(dsn)
    for what, go_on in GOES_ON.items():
        depot.new_process()
        with pytest.raises(TamperedLog, match=r"definition .* is not as it was written"):
            go_on(depot, run)
        assert depot.done() == before, f"{what} was performed"
    assert everything(dsn) == events
    fault = depot.site.services.log.verify(run)
    assert fault is not None
    assert (fault.version, fault.kind, depot.definition.hash in fault.message) == (1, "altered", True)


@pytest.mark.parametrize("what", ["a step", "an answer", "undoing", "the end"])
@pytest.mark.parametrize("how", ["an output was altered", "an output was rewritten with its hash",
                                 "what a step gave was taken out", "an event was put in"])  # fmt: skip
def test_a_process_that_has_seen_the_run_before_sees_what_was_altered_since(
    depot: Depot, dsn: str, how: str, what: str
) -> None:
    run = depot.half_way()
    services = depot.site.services
    ways: dict[str, Callable[[], Awaitable[Any]]] = {
        "a step": lambda: perform(services, WorkRef(run=run, step="single")),
        "an answer": lambda: depot.answered(run),
        "undoing": lambda: unwinding.begin(services, WorkRef(run=run, step="begin"), {"single": "failed"}),
        "the end": lambda: close_run(services, WorkRef(run=run, step="close"), {}),
    }

    async def seen_before() -> None:
        """In one process, on one connection."""
        await view.load_all(services, run)
        depot.tamper(dsn, run, how)
        known.append(services.log.verified._known[run].version)
        await ways[what]()

    known: list[int] = []
    before = depot.done()
    with pytest.raises(TamperedLog, match="is not as it was written"):
        depot.site.do(seen_before())
    assert known[0] > 3, "it was known already"
    assert depot.done() == before


def test_a_run_goes_on_once_its_log_was_restored(depot: Depot, dsn: str) -> None:
    run = depot.half_way()
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE backup AS SELECT version, data::text FROM events WHERE stream = %s", (run,))
    depot.tamper(dsn, run, "an output was altered")
    with pytest.raises(TamperedLog):
        GOES_ON["a step"](depot, run)
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        connection.execute(
            "UPDATE events SET data = backup.data::json FROM backup"
            " WHERE events.stream = %s AND events.version = backup.version",
            (run,),
        )
        connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")
    assert GOES_ON["a step"](depot, run).status == "succeeded"
    assert depot.done()[-1] == "single second"


def test_an_altered_snapshot_is_not_believed(depot: Depot, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from muster.events import snapshots

    monkeypatch.setattr(snapshots, "EVERY", 3)
    run = depot.half_way()
    log = depot.site.services.log
    before = log.state(run)
    with psycopg.connect(dsn) as connection:
        changed = connection.execute("UPDATE snapshots SET state = replace(state, '\"second\"', '\"other\"')")
        assert changed.rowcount == 1
    assert log.state(run) == before
