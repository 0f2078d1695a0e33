"""What the reconciler finds, mends and leaves alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import timedelta

import pytest

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.run_executions import Epoch, epoch_of
from muster.operations.reconciling import findings
from muster.recovery import ledger
from muster.recovery.leases import Leases
from muster.recovery.ledger import Effect, Ledger
from support.reconciled import LATER, SKILLS, UNDONE, FakeAirflow, begun_again, found, told
from support.runs import Site

pytestmark = pytest.mark.skills(depot=SKILLS)

AUTOMATION = "automation: a\nsteps:\n  - {id: b, notify: [{slack: '#x', text: y}]}\n"


@pytest.mark.parametrize("state", ["success", None])
def test_a_run_that_nobody_can_go_on_with_is_closed_and_told_once(site: Site, state: str | None) -> None:
    run = site.open(site.definition(AUTOMATION))
    airflow = FakeAirflow(state)
    (seen,) = found(site, airflow, mend=False)
    assert (seen.subject, seen.mended, site.state(run).status) == (run, False, "open")
    assert told(site) == []
    (mended,) = found(site, airflow)
    assert mended.mended
    assert site.services.queries.run(run).status == "failed"
    assert "open in the log, and Airflow" in str(site.state(run).reason)
    assert found(site, airflow) == []
    assert [target for target, _ in told(site)] == ["#incidents"]
    assert airflow.restarted == []
    assert site.services.log.verify(run) is None


@pytest.mark.parametrize(("state", "later"), [("running", LATER), ("queued", LATER), ("failed", timedelta(minutes=1))])
def test_a_run_that_goes_on_or_ended_just_now_is_left_alone(site: Site, state: str, later: timedelta) -> None:
    run = site.open(site.definition(AUTOMATION))
    assert found(site, FakeAirflow(state), later=later) == []
    assert site.state(run).status == "open"


def test_a_run_that_died_goes_on_in_the_same_epoch_so_that_its_outcomes_stand(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    airflow = FakeAirflow()
    (restarted,) = found(site, airflow)
    assert (restarted.mended, restarted.person, airflow.restarted) == (True, False, [run.partition("/")[2]])
    assert told(site) == []
    (event,) = site.services.log.read(run, types=[EventType.RUN_CONTINUED])
    assert event.actor == "reconciler"

    assert site.do(begun_again(site, run)) == 0
    version = site.services.log.version(run)
    assert site.step(run, "one").status == "succeeded"
    assert site.services.log.version(run) == version
    assert site.step(run, "two").status == "succeeded"
    assert site.close(run).status == "succeeded"
    assert site.services.log.verify(run) is None


def test_an_execution_that_a_person_asked_for_is_a_new_epoch_also_after_one_that_died(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    found(site, FakeAirflow())
    assert site.do(begun_again(site, run)) == 0
    assert site.do(begun_again(site, run)) == 1
    assert site.do(epoch_of(site.services, run, None)) == Epoch(0)


def test_a_run_that_dies_again_and_again_is_undone_and_then_left_to_a_person(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    airflow = FakeAirflow()
    for _ in range(3):
        (restarted,) = found(site, airflow)
        assert not restarted.person
        site.do(begun_again(site, run))
    (undone,) = found(site, airflow)
    assert (undone.mended, undone.person) == (True, True)
    assert site.state(run).cancelled_by == "reconciler"
    site.do(begun_again(site, run))
    (closed,) = found(site, airflow)
    assert "one was begun and is not undone" in closed.message
    assert site.services.queries.run(run).status == "stuck"
    assert len(airflow.restarted) == 4
    assert [each.kind for each in found(site, airflow)] == ["stuck"]
    assert [target for target, _ in told(site)] == ["#stuck", "#stuck"]
    assert site.services.log.verify(run) is None


def dies_four_times(site: Site) -> tuple[str, FakeAirflow]:
    """A run that is to be undone, for it has died again after three restarts."""
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    airflow = FakeAirflow()
    for _ in range(4):
        found(site, airflow)
        site.do(begun_again(site, run))
    return run, airflow


def test_what_died_too_often_is_undone_by_its_own_tasks(site: Site) -> None:
    run, _ = dies_four_times(site)
    assert site.step(run, "two").status == "skipped"
    assert site.unwind(run) == "succeeded"
    site.close(run)
    assert site.state(run).status == "compensated"
    assert "died again after 3 restarts" in str(site.state(run).reason)


@pytest.mark.parametrize("close", ["skipped", "success"])
def test_a_run_that_a_person_ended_in_airflow_is_not_restarted_but_undone(site: Site, close: str) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    airflow = FakeAirflow(tasks={"close": close})
    (undone,) = found(site, airflow)
    assert "by hand" in undone.message
    assert len(airflow.restarted) == 1
    assert site.state(run).cancelled_by == "reconciler"


def test_a_run_ended_by_hand_that_did_nothing_is_closed(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    airflow = FakeAirflow(tasks={"close": "skipped"})
    found(site, airflow)
    assert (airflow.restarted, site.state(run).status) == ([], "failed")


def test_a_restart_that_airflow_did_not_take_is_asked_for_again_for_a_day_and_counts_once(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    airflow = FakeAirflow()
    airflow.refuses = True
    for _ in range(5):
        (seen,) = found(site, airflow)
        assert (seen.mended, seen.person) == (False, True)
    assert len(list(site.services.log.read(run, types=[EventType.RUN_CONTINUED]))) == 1
    assert len(told(site)) == 1
    airflow.refuses = False
    (seen,) = found(site, airflow)
    assert seen.mended
    (given_up,) = found(site, airflow, later=timedelta(days=2))
    assert "one was begun and is not undone" in given_up.message
    assert site.state(run).status == "failed"


def test_a_run_in_which_something_happens_at_that_moment_is_left_alone(site: Site) -> None:
    run = site.open(site.definition(UNDONE))

    class Racing(FakeAirflow):
        def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str | None]:
            site.step(run, "one")
            return super().tasks(dag_id, run_id)

    assert found(site, airflow := Racing()) == []
    assert airflow.restarted == []


def test_a_run_that_cannot_be_understood_keeps_no_other_from_being_mended(site: Site, database: Database) -> None:
    definition = site.definition(UNDONE)
    whole = site.open(definition)
    data = {"automation": "a", "definition": "0" * 64, "dag_id": "a", "dag_run_id": "odd", "inputs": {}}
    EventLog(database).append("a/odd", [NewEvent(type=EventType.RUN_OPENED, data=data, key="opened")])
    airflow = FakeAirflow()
    seen = {each.subject: each for each in found(site, airflow)}
    assert seen[whole].mended
    assert "cannot be reconciled" in seen["a/odd"].message
    assert (seen["a/odd"].mended, seen["a/odd"].person) == (False, True)
    assert [target for target, _ in told(site)] == ["#incidents"]


def test_after_an_outage_runs_begin_again_some_at_a_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.operations.reconciling.runs.AT_ONCE", 2)
    definition = site.definition(UNDONE)
    for _ in range(3):
        site.open(definition)
    airflow = FakeAirflow()
    assert len(found(site, airflow)) == 2
    assert len(set(airflow.restarted)) == 2


def test_a_lease_that_ran_out_is_let_go_and_one_renewed_for_an_ended_run_is_told(site: Site) -> None:
    leases = Leases(site.services.database)
    run = site.open(site.definition(UNDONE))
    leases.acquire(["dead"], f"{run}/one", ttl=-1.0)
    (mended,) = found(site, FakeAirflow("running"))
    assert (mended.kind, mended.subject, mended.mended, mended.person) == ("lease", "dead", True, False)
    assert leases.held() == []

    leases.acquire(["bank"], f"{run}/one", ttl=600)
    assert found(site, FakeAirflow("running")) == []
    site.close(run)
    (held,) = [each for each in found(site, FakeAirflow("failed")) if each.kind == "lease"]
    assert (held.subject, held.mended, held.person) == ("bank", False, True)
    assert [holder.name for holder in leases.held()] == ["bank"]


def failed_notice(database: Database, key: str, error: str, age: str = "20 minutes", status: str = "failed") -> None:
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO outbox (key, channel, target, text, status, error, attempts, created_at, settled_at,"
            " claimed_until) VALUES (%(key)s, 'slack', '#ops', 'hello', %(status)s, %(error)s, 1,"
            " clock_timestamp() - %(age)s::interval, clock_timestamp() - %(age)s::interval,"
            " CASE WHEN %(status)s = 'pending' THEN clock_timestamp() - interval '1 minute' END)",
            {"key": key, "error": error, "age": age, "status": status},
        )


@pytest.mark.parametrize(("status", "error"), [("failed", "TransientError: busy"), ("pending", "")])
def test_a_notice_that_may_pass_is_sent_again_under_its_own_key(
    site: Site, database: Database, status: str, error: str
) -> None:
    failed_notice(database, "k", error, status=status)
    (mended,) = found(site, FakeAirflow(None))
    assert (mended.kind, mended.subject, mended.mended) == ("notice", "k", True)
    (entry,) = site.services.notices.outbox.entries()
    assert (entry.status, entry.attempts) == ("kept", 2)
    assert found(site, FakeAirflow(None)) == []


@pytest.mark.parametrize(("error", "age"), [("PermanentError: gone", "20 minutes"), ("TransientError: busy", "2 days")])
def test_a_notice_that_will_not_pass_is_told_once_and_not_sent_again(
    site: Site, database: Database, error: str, age: str
) -> None:
    failed_notice(database, "k", error, age)
    for _ in range(2):
        (notice,) = found(site, FakeAirflow(None))
        assert (notice.kind, notice.subject, notice.mended, notice.person) == ("notice", "k", False, True)
        assert f"#ops: {error}" in notice.message
    assert len(told(site)) == 1


def test_notices_are_sent_again_less_and_less_often(site: Site, database: Database) -> None:
    failed_notice(database, "k", "TransientError: busy", "6 hours")
    with database.connection() as connection:
        connection.execute("UPDATE outbox SET settled_at = clock_timestamp() - interval '20 minutes'")
    (waiting,) = found(site, FakeAirflow(None), later=timedelta())
    assert (waiting.mended, waiting.person) == (False, False)


def test_that_a_notice_of_its_own_is_lost_is_not_told_in_another(site: Site, database: Database) -> None:
    failed_notice(database, "reconciler/effect/x/0", "PermanentError: gone")
    (notice,) = found(site, FakeAirflow(None))
    assert not notice.person
    assert len(told(site)) == 1


def test_an_effect_in_doubt_is_told_once_its_run_has_ended(site: Site, database: Database) -> None:
    run = site.open(site.definition(UNDONE))
    Ledger(database).do(ledger.begin(Effect.of(f"{run}/one/effect/charge", "payment", {}, run), -1.0))
    (open_,) = found(site, FakeAirflow("running"))
    assert (open_.kind, open_.person) == ("effect", False)
    site.close(run)
    (ended,) = found(site, FakeAirflow("failed"))
    assert (ended.kind, ended.person) == ("effect", True)
    assert "muster effects settle" in ended.remedy


@pytest.mark.parametrize("alone", [True, False])
def test_a_task_that_waits_for_a_step_that_has_ended_is_performed_again(site: Site, alone: bool) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    airflow = FakeAirflow("running", tasks={"one": "deferred", **({} if alone else {"two": "running"})})
    assert found(site, airflow, later=timedelta(minutes=1)) == []
    (looked,) = found(site, airflow, mend=False)
    assert (looked.kind, looked.subject, looked.mended, airflow.cleared) == ("task", run, False, [])
    assert "one has ended in the log, and is deferred in Airflow" in looked.message
    assert "clear the task one" in looked.remedy
    (mended,) = found(site, airflow)
    assert (mended.mended, mended.person, airflow.cleared) == (True, False, [["one"]])


CHAIN = """automation: a
steps:
""" + "".join(f"  - {{id: s{number}, skill: depot.act, with: {{name: x}}}}\n" for number in range(30))


def test_airflow_may_come_later_to_a_step_of_a_long_chain_that_was_done_ahead_of_it(site: Site) -> None:
    run = site.open(site.definition(CHAIN))
    for number in range(30):
        site.step(run, f"s{number}", ahead=True)
    airflow = FakeAirflow("running", tasks={"s29": "deferred"})
    assert found(site, airflow, later=timedelta(minutes=7)) == [], "Airflow needs up to 5 s from task to task"
    between = FakeAirflow("running", tasks={"s28": "success", "s29": None})
    assert found(site, between, later=timedelta(minutes=7)) == [], "nor is it left standing between two of them"
    assert [each.mended for each in found(site, airflow)] == [True]


def test_of_a_run_that_airflow_does_not_go_on_with_people_are_told_once(site: Site) -> None:
    """Its automation was renamed while it waited for an answer, for one: Airflow passes over it and says nothing."""
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    airflow = FakeAirflow("running", tasks={"one": "success", "two": None, "close": None})
    assert found(site, airflow, later=timedelta(minutes=1)) == []
    (seen,) = found(site, airflow)
    assert (seen.kind, seen.subject, seen.mended, seen.person) == ("run", run, False, True)
    assert "its automation is paused, or its file is gone" in seen.message
    found(site, airflow)
    assert [target for target, _ in told(site)] == ["#stuck"]
    assert (airflow.restarted, airflow.cleared, site.state(run).status) == ([], [], "open")


@pytest.mark.parametrize("state", ["scheduled", "queued", "up_for_reschedule", "awaiting_input"])
def test_one_that_waits_for_its_turn_or_for_people_is_left_alone(site: Site, state: str) -> None:
    site.step(run := site.open(site.definition(UNDONE)), "one")
    assert found(site, FakeAirflow("running", tasks={"one": "success", "two": state, "close": None})) == []
    assert site.state(run).status == "open"


@pytest.mark.parametrize("state", ["scheduled", "up_for_retry", "up_for_reschedule"])
def test_of_one_whose_task_waits_in_a_paused_dag_people_are_told_once(site: Site, state: str) -> None:
    site.step(run := site.open(site.definition(UNDONE)), "one")
    airflow = FakeAirflow("running", tasks={"one": "success", "two": state, "close": None})
    airflow.is_paused = True
    assert found(site, airflow, later=timedelta(minutes=1)) == []
    (seen,) = found(site, airflow)
    assert (seen.subject, seen.person, "its automation is paused" in seen.message) == (run, True, True)
    found(site, airflow)
    assert [target for target, _ in told(site)] == ["#stuck"]
    airflow.task_states = {"one": "success", "two": "awaiting_input", "close": "scheduled"}
    assert found(site, airflow) == [], "somebody is asked, and may answer while it is paused"


@pytest.mark.parametrize(("others", "told_of"), [("running", 0), ("queued", 2)])
def test_one_that_is_queued_behind_as_many_as_go_on_at_once_is_left_alone(
    site: Site, monkeypatch: pytest.MonkeyPatch, others: str, told_of: int
) -> None:
    class Busy(FakeAirflow):
        """One run of two goes on, or none where the automation is paused."""

        def state(self, dag_id: str, run_id: str) -> str | None:
            return others if f"{dag_id}/{run_id}" == first else "queued"

        def tasks(self, dag_id: str, run_id: str) -> Mapping[str, str | None]:
            return {"two": "awaiting_input"} if self.state(dag_id, run_id) == "running" else {"one": None, "two": None}

    monkeypatch.setattr(findings, "AT_ONCE", 1)
    first, second = (site.open(site.definition(UNDONE)) for _ in range(2))
    for run in (first, second):
        site.step(run, "one")
    assert len(found(site, Busy("running"))) == told_of


FAN_OUTS = """automation: a
steps:
  - {id: ask, each: "{{ [1, 2, 3] }}", human: {ask: "Pay {{ item }}?", assignees: [boss]}}
  - {id: two, after: [], each: "{{ ['a', 'b', 'c'] }}", pack: 2, skill: depot.act, with: {name: "{{ item }}"}}
  - {id: all, after: [], each: "{{ ['a', 'b'] }}", pack: all, skill: depot.act, with: {name: "{{ item }}"}}
  - {id: none, after: [], each: "{{ [] }}", pack: all, skill: depot.act, with: {name: "{{ item }}"}}
"""


@pytest.mark.parametrize(
    ("waiting", "over"),
    [
        ({"ask_0": "awaiting_input", "ask_1": "awaiting_input"}, ["ask_1"]),
        ({"two_0": "deferred", "two_1": "running"}, ["two_0"]),
        ({"all": "running"}, ["all"]),
        ({"none": "running"}, ["none"]),
        ({"ask_0": "awaiting_input"}, []),
        ({"two_1": "running"}, []),
    ],
)
def test_a_task_that_waits_for_items_that_have_ended_is_performed_again(
    site: Site, waiting: dict[str, str | None], over: list[str]
) -> None:
    """An answered item's question, for one, whose API server died before Airflow had the answer."""
    run = site.open(site.definition(FAN_OUTS))
    for step in ("ask", "two", "all", "none"):
        site.expand(run, step)
    site.approve(run, "ask", by="boss", slot=1)
    site.step(run, "two", 0)
    site.step(run, "all")
    begin_item(site, run, "two", 2)
    airflow = FakeAirflow("running", tasks=waiting)
    assert found(site, airflow, later=timedelta(minutes=1)) == []
    assert [each.mended for each in found(site, airflow)] == [True] * len(over)
    assert airflow.cleared == ([over] if over else [])


def test_an_item_that_has_ended_is_done_by_its_task_when_that_is_performed_again(site: Site) -> None:
    run = site.open(site.definition(FAN_OUTS))
    site.expand(run, "ask")
    site.approve(run, "ask", by="boss", slot=1)
    outcome = site.do(begin(site.services, WorkRef(run=run, step="ask", slot=1)))
    assert (outcome.status, outcome.output["by"]) == ("succeeded", "boss")


def begin_item(site: Site, run: str, step: str, index: int) -> None:
    data = {"step": step, "index": index, "epoch": 0, "kind": "skill", "lane": "worker", "attempt": 1}
    site.services.log.append(run, [NewEvent(type=EventType.STEP_STARTED, data=data)])


@pytest.mark.parametrize(
    ("tasks", "lost"),
    [
        ({"two": "deferred"}, ["two"]),
        ({"close": "deferred", "two": "success"}, ["close"]),
        ({"unwind.begin": "deferred"}, ["unwind.begin"]),
        ({"unwind.one": "deferred", "two": "failed"}, ["unwind.one"]),
        ({"two": "scheduled"}, []),
        ({"ask": "deferred"}, []),
    ],
)
def test_a_task_that_no_triggerer_is_at_is_performed_again(
    site: Site, tasks: dict[str, str | None], lost: list[str]
) -> None:
    run = site.open(site.definition(UNDONE + "  - {id: ask, human: {ask: Well?, assignees: [boss]}}\n"))
    site.step(run, "one")
    airflow = FakeAirflow("running", tasks=tasks)
    assert found(site, airflow, later=timedelta(minutes=2), quiet=timedelta()) == [], "Airflow may need a while"
    assert [each.mended for each in found(site, airflow)] == [True] * len(lost)
    assert airflow.cleared == ([lost] if lost else [])


@pytest.mark.parametrize("task", ["two", "ask", "close", "unwind.begin", "unwind.one"])
def test_a_task_whose_next_try_a_wrong_clock_has_put_off_is_performed_again(site: Site, task: str) -> None:
    run = site.open(site.definition(UNDONE + "  - {id: ask, human: {ask: Well?, assignees: [boss]}}\n"))
    site.step(run, "one")
    airflow = FakeAirflow("running", tasks={task: "up_for_retry"})
    assert found(site, airflow, later=timedelta(minutes=2), quiet=timedelta()) == [], "Airflow may need a while"
    (mended,) = found(site, airflow)
    assert mended.mended
    assert f"{task} is up_for_retry in Airflow" in mended.message
    assert airflow.cleared == [[task]]


def test_an_operator_that_airflow_means_to_try_again_is_left_alone(site: Site) -> None:
    operator = (
        "  - {id: wait, operator: airflow.providers.standard.operators.bash.BashOperator, with: {bash_command: a}}"
    )
    site.open(site.definition(UNDONE + operator + "\n"))
    assert found(site, FakeAirflow("running", tasks={"wait": "up_for_retry"}), later=timedelta(hours=9)) == []


def test_a_task_may_be_silent_for_as_long_as_its_step_may_take(site: Site) -> None:
    run = site.open(site.definition(UNDONE.replace("{name: two}", "{name: two}, timeout: 50m")))
    data = {"step": "two", "index": None, "epoch": 0}
    site.services.log.append(run, [NewEvent(type=EventType.STEP_STARTED, data=data)])
    airflow = FakeAirflow("running", tasks={"two": "deferred"})
    assert found(site, airflow, later=timedelta(minutes=55)) == []
    retried = {**data, "attempt": 1, "error": {}, "delay": 600}
    site.services.log.append(run, [NewEvent(type=EventType.STEP_RETRIED, data=retried)])
    assert found(site, airflow, later=timedelta(minutes=65)) == [], "it may rest before its next attempt"
    assert found(site, airflow, later=timedelta(minutes=75))[0].mended


@pytest.mark.parametrize("lock", ["", ", lock: till"], ids=["free", "locked"])
@pytest.mark.parametrize("last_sign", [None, "6 minutes", "4 minutes"])
def test_a_task_whose_process_gives_signs_of_life_may_take_as_long_as_it_likes_and_one_that_gave_none_is_begun_again(
    site: Site, database: Database, lock: str, last_sign: str | None
) -> None:
    run = site.open(site.definition(UNDONE.replace("{name: two}", "{name: two}" + lock)))
    data = {"step": "two", "index": None, "epoch": 0}
    site.services.log.append(run, [NewEvent(type=EventType.STEP_STARTED, data=data)])
    if last_sign is not None:
        with database.connection() as connection:
            connection.execute(
                "INSERT INTO attempts (work, run, execution, attempt, beaten_at)"
                " VALUES (%s, %s, 2, 1, now() - %s::interval)",
                (f"{run}/two", run, last_sign),
            )
    airflow = FakeAirflow("running", tasks={"two": "deferred"})
    assert found(site, airflow, later=timedelta(minutes=9), quiet=timedelta()) == [], "its first sign may be to come"
    mended = found(site, airflow, later=timedelta(hours=9))
    assert [each.mended for each in mended] == ([] if last_sign == "4 minutes" else [True])


def test_a_task_whose_process_could_give_no_sign_while_the_database_was_away_is_left_alone(
    site: Site, database: Database
) -> None:
    run = site.open(site.definition(UNDONE))
    data = {"step": "two", "index": None, "epoch": 0}
    site.services.log.append(run, [NewEvent(type=EventType.STEP_STARTED, data=data)])
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO attempts (work, run, execution, attempt, beaten_at) VALUES (%s, %s, 2, 1, '2026-01-01')",
            (f"{run}/two", run),
        )

    def beat() -> None:
        time.sleep(0.5)
        with database.connection() as connection:
            connection.execute("UPDATE attempts SET beaten_at = clock_timestamp()")

    beating = threading.Thread(target=beat)
    beating.start()
    airflow = FakeAirflow("running", tasks={"two": "deferred"})
    assert found(site, airflow, later=timedelta(hours=9), patience=3.0) == []
    beating.join()


def test_a_clock_that_was_wrong_keeps_no_run_from_being_looked_after(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    ahead = timedelta(hours=-2)
    close = FakeAirflow("running", tasks={"close": "deferred"})
    assert [each.mended for each in found(site, close, later=ahead)] == [True]
    dead = FakeAirflow("failed")
    (restarted,) = found(site, dead, later=ahead)
    assert (restarted.mended, len(dead.restarted)) == (True, 1)


def test_how_long_begun_work_is_silent_nobody_knows_of_a_clock_that_was_wrong(site: Site) -> None:
    run = site.open(site.definition(UNDONE.replace("{name: two}", "{name: two}, timeout: 50m")))
    data = {"step": "two", "index": None, "epoch": 0}
    site.services.log.append(run, [NewEvent(type=EventType.STEP_STARTED, data=data)])
    airflow = FakeAirflow("running", tasks={"two": "deferred"})
    assert found(site, airflow, later=timedelta(hours=-2)) == []


def test_a_run_that_was_closed_by_a_clock_that_was_wrong_is_ended_in_airflow(site: Site) -> None:
    site.run(site.definition(UNDONE))
    airflow = FakeAirflow("running", tasks={"close": "deferred"})
    assert [each.mended for each in found(site, airflow, later=timedelta(hours=-2))] == [True]


def test_of_a_fan_out_the_instance_whose_items_have_not_begun_is_performed_again(
    site: Site, database: Database
) -> None:
    run = site.open(site.definition(UNDONE.replace("name: two}", "name: two}, each: '{{ [1, 2, 3] }}', pack: 2")))
    expanded = {"step": "two", "length": 3, "indices": [0, 1, 2], "epoch": 0}
    began = {"step": "two", "index": 1, "epoch": 0}
    log = site.services.log
    log.append(run, [NewEvent(type=EventType.STEP_EXPANDED, data=expanded)])
    log.append(run, [NewEvent(type=EventType.STEP_STARTED, data=began)])
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO attempts (work, run, execution, attempt) VALUES (%s, %s, 3, 0)", (f"{run}/two[1]", run)
        )
    airflow = FakeAirflow("running", tasks={"two_0": "deferred", "two_1": "deferred"})
    assert found(site, airflow)[0].mended
    assert airflow.cleared == [["two_1"]], "a process is at the other one"


def test_from_a_task_a_run_is_cleared_as_a_whole_only_when_that_does_nothing_else_again(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    airflow = FakeAirflow("running", tasks={"two": "deferred"})
    airflow.clears = False
    airflow.task_states = {"two": "deferred", "other": "running"}
    assert [each.mended for each in found(site, airflow)] == [False]
    airflow.task_states = {"two": "deferred"}
    assert [each.mended for each in found(site, airflow)] == [True]
    assert len(airflow.restarted) == 1
    site.do(begun_again(site, run))
    assert [(each.mended, each.person) for each in found(site, airflow)] == [(False, True)]
    assert len(airflow.restarted) == 1, "what was done before it was begun again would be done once more"


def test_that_airflow_does_not_answer_is_said_with_what_is_lost(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    airflow = FakeAirflow("running", tasks={"one": "deferred"})
    airflow.refuses = True
    (left,) = found(site, airflow)
    assert (left.subject, left.mended, "no answer" in left.message) == (run, False, True)


def test_the_tasks_of_a_run_that_was_just_restarted_are_not_taken_for_stale(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.operations.reconciling.orphaned_tasks.SLOWEST", timedelta(seconds=1))
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    time.sleep(1.2)
    at_once = {"later": timedelta(), "quiet": timedelta()}
    seen = found(site, FakeAirflow("running", tasks={"one": "queued"}), **at_once)
    assert [each.kind for each in seen] == ["task"]
    seen = found(site, FakeAirflow(tasks={"close": "failed", "one": "queued"}), **at_once)
    assert [each.kind for each in seen] == ["run"]


def test_a_run_over_in_the_log_is_ended_in_airflow_when_nothing_is_left_to_do(site: Site) -> None:
    run = site.run(site.definition(UNDONE))
    airflow = FakeAirflow("running", tasks={"close": "deferred"})
    assert found(site, airflow, mend=False)[0].mended is False
    assert airflow.restarted == []
    (mended,) = found(site, airflow)
    assert (mended.kind, mended.subject, mended.mended) == ("task", run, True)
    assert len(airflow.restarted) == 1


def test_a_run_over_in_the_log_with_steps_to_do_is_left_to_a_person(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    site.step(run, "one")
    site.services.log.append(run, [NewEvent(type=EventType.STEP_STARTED, data={"step": "two", "index": None})])
    site.close(run, {"two": "failed"})
    airflow = FakeAirflow("running", tasks={"two": "deferred"})
    (stale,) = found(site, airflow)
    assert (stale.mended, stale.person, airflow.restarted) == (False, True, [])


def test_a_run_over_in_the_log_after_it_was_begun_again_is_left_to_a_person(site: Site) -> None:
    run = site.run(site.definition(UNDONE))
    site.do(begun_again(site, run))
    site.close(run, epoch=1)
    airflow = FakeAirflow("running", tasks={"close": "deferred"})
    (stale,) = found(site, airflow)
    assert (stale.kind, stale.mended, stale.person, airflow.restarted) == ("task", False, True, [])


def test_a_run_that_was_begun_again_may_go_on(site: Site) -> None:
    run = site.run(site.definition(UNDONE))
    site.do(begun_again(site, run))
    assert found(site, FakeAirflow("running", tasks={"one": "running"})) == []


class _EndsMeanwhile(FakeAirflow):
    """Airflow, in which the run comes to its end after it was looked at for the first time."""

    def state(self, dag_id: str, run_id: str) -> str | None:
        known, self.run_state = self.run_state, "success"
        return known


def test_a_run_that_ends_while_its_log_is_read_is_not_begun_again(site: Site) -> None:
    run = site.run(site.definition(UNDONE))
    airflow = _EndsMeanwhile("running", tasks={"one": "success", "two": "success", "close": "deferred"})
    assert (found(site, airflow), airflow.restarted, site.state(run).status) == ([], [], "succeeded")
