"""The projections of real runs, made new from the log, are the same to the byte."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from muster.approvals.asking import answer, request
from muster.database import Database
from muster.events import rebuild as rebuilding
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.events.projections import money
from muster.events.rebuild import rebuild
from muster.events.replay import replay
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import ActionResult, WorkItem
from support.processes import finish, start
from support.run_events import step
from support.run_events import whole_run as whole_events
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "rebuild")

AUTOMATION = """
automation: tested
inputs: {names: {type: array, items: {type: string}}}
steps:
  - {id: read, each: "{{ inputs.names }}", pack: 2, skill: desk.read, with: {name: "{{ item }}"}}
  - id: again
    each: "{{ steps.read }}"
    pack: all
    skill: desk.flaky
    with: {name: "{{ item.name }}"}
    retry: {times: 2, delay: 0s}
  - id: code
    agent: clerk
    ask: "Code {{ steps.again | present | join(', ') }}"
  - {id: never, when: "{{ not steps.read }}", skill: desk.large}
  - {id: store, after: [code], skill: desk.large}
  - {id: approve, human: {ask: "Pay?", assignees: [lead], within: 1h}}
  - {id: refuse, skill: desk.refuse, fallback: {skill: desk.large}}
"""
AGENTS = "department: desk\nagents:\n  - {id: clerk, role: Codes., offline: desk.large}\n"
FAILING = "automation: tested\nsteps:\n  - {id: first, skill: desk.refuse}\n  - {id: second, skill: desk.large}\n"


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("desk", SKILLS)
    made.agents(AGENTS)
    return made


def tables(dsn: str) -> list[str]:
    """Every row of both projections, and of the view on them, as PostgreSQL prints it."""
    with psycopg.connect(dsn) as connection:
        return [
            f"{table}{row[0]}"
            for table in ("runs", "steps", "workflow_executions")
            for row in connection.execute(f"SELECT t::text FROM {table} t ORDER BY t::text")
        ]


def whole_run(site: Site, *names: str) -> str:
    """A run with a fan-out, items set aside, retries, an agent, an approval, a fallback and large values."""
    definition = site.definition(AUTOMATION)
    run = site.open(definition, names=list(names))
    for id in ("read", "again", "code", "never", "store", "approve", "refuse"):
        if id == "approve":
            site.do(approve(site, run))
        elif id == "read":
            site.all_of(run, id)
        else:
            site.step(run, id)
    site.close(run)
    return run


async def approve(site: Site, run: str) -> None:
    work_item = await begin(site.services, WorkRef(run=run, step="approve", lane="worker"))
    assert isinstance(work_item, WorkItem)
    await request(site.services, work_item)
    await answer(site.services, work_item, approved=True, by="lead")


def test_runs_as_they_really_are_come_back_to_the_byte(site: Site, dsn: str, database: Database) -> None:
    runs = [whole_run(site, "one", "torn", "three"), whole_run(site, "torn"), whole_run(site)]
    runs += [site.run(site.definition(FAILING)), site.open(site.definition(FAILING))]
    live = tables(dsn)

    assert [site.state(run).status for run in runs] == ["succeeded", "failed", "succeeded", "failed", "open"]
    types = {event.type for run in runs for event in site.services.log.read(run)}
    assert {T.STEP_EXPANDED, T.STEP_RETRIED, T.STEP_SET_ASIDE, T.STEP_SKIPPED, T.APPROVAL_ANSWERED} <= types
    rebuild(database)

    assert tables(dsn) == live


DYING = """
automation: tested
inputs: {names: {type: array, items: {type: string}, default: [one, two, three]}}
steps:
  - {id: single, skill: desk.large, after: []}
  - {id: many, each: "{{ inputs.names }}", skill: desk.read, with: {name: "{{ item }}"}, after: []}
  - {id: ended, each: "{{ inputs.names }}", skill: desk.read, with: {name: "{{ item }}"}, after: []}
  - {id: asked, human: {ask: Well?, assignees: [lead]}, after: []}
  - {id: never, skill: desk.large, after: [single]}
"""


def test_a_closed_run_has_nothing_at_work_and_nobody_waited_for(site: Site, dsn: str, database: Database) -> None:
    """Whoever was at it died without a word; begun again, it is at work again."""
    run = site.open(site.definition(DYING))
    begun = [WorkRef(run=run, step="single"), WorkRef(run=run, step="asked", lane="worker")]
    assert site.expand(run, "many") == site.expand(run, "ended") == 3
    site.step(run, "many", 0)
    for slot in range(2):
        site.step(run, "ended", slot)
    last = site.do(begin(site.services, WorkRef(run=run, step="ended", slot=2)))
    assert isinstance(last, WorkItem)
    # Whoever ends the last item dies before it says that the list is done.
    site.services.log.append(run, [last.succeeded(ActionResult(output=None))])
    begun.append(WorkRef(run=run, step="many", slot=1))
    work_items = [site.do(begin(site.services, ref)) for ref in begun]
    assert isinstance(work_items[1], WorkItem)
    site.do(request(site.services, work_items[1]))
    before = {(row.step, row.index): row.status for row in site.services.queries.steps(run)}
    assert before["single", -1] == before["many", -1] == before["many", 1] == before["ended", -1] == "running"
    assert before["asked", -1] == "waiting"

    assert site.close(run, {"single": "failed", "asked": "failed", "many_1": "failed"}).status == "failed"

    after = {(row.step, row.index): row.status for row in site.services.queries.steps(run)}
    assert not {"running", "retrying", "waiting"} & set(after.values())
    assert after["single", -1] == after["many", -1] == after["many", 1] == after["asked", -1] == "stopped"
    assert after["ended", -1] == after["many", 0] == "succeeded"
    state = site.state(run)
    assert {name: state.step(name).status for name in ("single", "many", "ended", "asked", "never")} == {
        **dict.fromkeys(("single", "many", "asked"), "stopped"),
        "ended": "succeeded",
        "never": "pending",
    }
    live = tables(dsn)
    rebuild(database)
    assert tables(dsn) == live

    site.do(begin(site.services, WorkRef(run=run, step="single", epoch=1)))
    assert {row.step: row.status for row in site.services.queries.steps(run)}["single"] == "running"


def test_every_page_and_batch_of_a_rebuild_counts(
    log: EventLog, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        log.append(f"r{number}", [step(T.MODEL_CALLED, "code", n, cost="0.25") for n in range(5)])
    live = tables(dsn)
    monkeypatch.setattr(rebuilding, "STREAMS_AT_ONCE", 3)
    monkeypatch.setattr(rebuilding, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(rebuilding, "_PAGE", 4)
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM runs")
        connection.execute("UPDATE steps SET calls = 7")

    rebuild(database)

    assert tables(dsn) == live


def test_two_rebuilds_at_once_get_out_of_each_others_way(log: EventLog, dsn: str, database: Database) -> None:
    for number in range(30):
        log.append(f"r{number}", [step(T.MODEL_CALLED, "code", n, cost="0.25") for n in range(3)])
    live = tables(dsn)

    async def both() -> None:
        await asyncio.gather(*[asyncio.to_thread(rebuild, database) for _ in range(3)])

    asyncio.run(both())
    assert tables(dsn) == live


APPENDER = """
import sys, time
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import NewEvent

log, runs = EventLog(Database(sys.argv[1])), [f"busy/{n}" for n in range(10)]
for run in runs:
    log.append(run, [NewEvent(type="run.opened", data={"automation": "busy"})])
print("begun", flush=True)
started = time.monotonic()
for number in range(400):
    time.sleep(max(0, started + number / 100 - time.monotonic()))
    begun = NewEvent(type="step.started", data={"step": "read", "index": number, "attempt": 1})
    asked = NewEvent(type="model.called", data={"step": "read", "index": number % 7, "cost": "0.125"})
    log.append(runs[number % len(runs)], [begun, asked])
"""


def test_a_rebuild_loses_and_doubles_nothing_while_a_hundred_appends_a_second_go_on(
    log: EventLog, dsn: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "ROWS_AT_ONCE", 10)
    for number in range(40):
        log.append(f"quiet/{number}", whole_events())
    quiet = [row for row in tables(dsn) if "quiet/" in row]
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE steps SET status = 'failed', calls = 9 WHERE run = 'quiet/3'")
        connection.execute("INSERT INTO runs (id, calls, cost_usd) VALUES ('stranger', 0, 0)")
    appender = start(APPENDER, dsn)
    assert appender.stdout is not None
    assert appender.stdout.readline() == "begun\n"
    rounds = 0
    while appender.poll() is None:
        assert [fault.stream for fault in rebuild(database).faults] == ["stranger"]
        rounds += 1
    finish(appender)
    assert rounds > 1
    assert [log.version(f"busy/{number}") for number in range(10)] == [81] * 10

    live = tables(dsn)
    assert [row for row in live if "quiet/" in row] == quiet
    assert [row for row in live if "stranger" in row]
    assert all(replay(database, f"busy/{number}").differences == [] for number in range(10))
    rebuild(database)
    assert tables(dsn) == live


def test_one_run_alone_is_made_new(log: EventLog, dsn: str, database: Database) -> None:
    for run in ("a", "b"):
        log.append(run, whole_events())
    live = tables(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE steps SET status = 'failed'")
    rebuilt = rebuild(database, "a")
    assert (rebuilt.runs, rebuilt.rows) == (1, 8)
    assert {row.split(",")[0] for row in set(tables(dsn)) ^ set(live)} == {"steps(b"}
    assert rebuild(database).runs == 2
    assert tables(dsn) == live


COSTS = [
    "0.0012",
    "0." + "0" * 20 + "1234567890123456789012345678",
    "7.1",
    "1e999999",
    "1e-999999",
    "0E-999999",
    "1E+3",
]
COSTS += ["-0", "NaN", "Infinity", "9" * 5_000, "999999999999.999999999999", "0." + "3" * 40, "many", "1_000"]


@pytest.mark.parametrize("together", [False, True])
def test_costs_add_up_the_same_in_a_rebuild_and_none_can_keep_an_event_from_the_log(
    log: EventLog, dsn: str, database: Database, together: bool
) -> None:
    events = [step(T.MODEL_CALLED, "code", cost=cost) for cost in COSTS]
    for batch in [events] if together else [[event] for event in events]:
        log.append("r", batch)
    live = tables(dsn)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT calls, cost_usd FROM runs").fetchone() == (len(COSTS), sum(map(money, COSTS)))

    rebuild(database)

    assert tables(dsn) == live


@pytest.mark.parametrize(
    ("said", "cost"),
    [("0.10", "0.10"), (3, "3"), (None, "0"), (["1"], "0"), ("1e12", "0"), ("999999999999", "999999999999")],
)
def test_a_cost_is_what_was_said_or_nothing(said: object, cost: str) -> None:
    assert str(money(said)) == cost
    assert money("0.0000000000019") == Decimal("0.000000000002")


def test_split_surrogates_in_a_projected_value_come_back_the_same(log: EventLog, dsn: str, database: Database) -> None:
    log.append("r", [NewEvent(type=T.STEP_SKIPPED, data={"step": "a", "reason": "\ud83e\udd80 \ud800"})])
    live = tables(dsn)
    assert "🦀 ?" in live[0]

    rebuild(database)

    assert tables(dsn) == live


FORGED = {
    "another value": 'UPDATE events SET data = \'{"step": "code", "cost": "9"}\' '
    "WHERE stream = 'b' AND type = 'model.called'",
    "no object": "UPDATE events SET data = '[1]' WHERE stream = 'b' AND version = 4",
    "nothing": "UPDATE events SET data = 'null' WHERE stream = 'b'",
    "another type": "UPDATE events SET type = 'step.failed' WHERE stream = 'b' AND type = 'step.succeeded'",
    "another actor": "UPDATE events SET actor = 'me' WHERE stream = 'b' AND version = 2",
    "another time": "UPDATE events SET at = at + interval '1 us' WHERE stream = 'b' AND version = 2",
    "no time": "UPDATE events SET at = 'infinity' WHERE stream = 'b' AND version = 2",
    "another step": "UPDATE events SET step = 'other' WHERE stream = 'b' AND step = 'code'",
    "no step": "UPDATE events SET step = '' WHERE stream = 'b' AND step = 'code'",
    "another cause": "UPDATE events SET causation = id WHERE stream = 'b' AND version = 2",
    "another key": "UPDATE events SET key = 'me' WHERE stream = 'b' AND version = 2",
    "another place": "UPDATE events SET position = DEFAULT WHERE stream = 'b' AND version = 2",
    "the beginning is gone": "DELETE FROM events WHERE stream = 'b' AND version = 1",
    "the middle is gone": "DELETE FROM events WHERE stream = 'b' AND version = 3",
    "all is gone": "DELETE FROM events WHERE stream = 'b'",
}


@pytest.mark.parametrize("how", FORGED)
@pytest.mark.parametrize("alone", [False, True])
def test_a_run_whose_log_was_tampered_with_keeps_its_rows_and_the_others_are_made_new(
    log: EventLog, dsn: str, database: Database, how: str, alone: bool
) -> None:
    for run in ("a", "b", "c"):
        log.append(run, whole_events())
    live = tables(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        assert connection.execute(FORGED[how].encode()).rowcount
        connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")
        if not alone:
            connection.execute("DELETE FROM runs WHERE id <> 'b'")

    rebuilt = rebuild(database, "b" if alone else None)

    assert [fault.stream for fault in rebuilt.faults] == ["b"]
    assert rebuilt.runs == (0 if alone else 2)
    assert tables(dsn) == live


def test_nothing_that_is_as_it_was_written_is_taken_for_tampered(database: Database, log: EventLog) -> None:
    odd_text = "\"\\ \b\f\n\r\t\x01\x1f\x7f /'‹ärger›\u2028🦀"
    data = {"step": odd_text, "cost": "1", "text": odd_text + "\0\ud800", "parent": {"step": "x"}}
    first = NewEvent(type=T.MODEL_CALLED, data=data, actor=odd_text, key=odd_text)
    [written] = log.append(odd_text, [first], correlation=odd_text)
    plain = [{}, {"step": None}, {"step": 7}, {"parent": {"step": "x", "index": 1}}, {"large": "ä" * 90_000}]
    log.append(odd_text, [NewEvent(type='odd "type"', data=each, causation=written.id) for each in plain])

    assert log.verify(odd_text) is None
    assert rebuild(database).faults == []
    assert replay(database, odd_text).differences == []
