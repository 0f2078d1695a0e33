"""Circuit breakers: open after so many failures, probed by one call, closed by a success, the same everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from muster.database import Database
from muster.errors import MusterError, PermanentError, TransientError
from muster.recovery.breakers import Breaker, BreakerOpen, Breakers, Policy, breakers_of, policy_of
from muster.recovery.guarding import Guard
from support.recovery_processes import Processes

POLICY = Policy(failures=3, open_seconds=60)
NAME = "tier:muster_big"


@pytest.fixture
def breakers(database: Database) -> Breakers:
    return Breakers(database, cached=0)


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        yield opened


def fail(breakers: Breakers, times: int = 1, error: BaseException | None = None) -> None:
    for _ in range(times):
        permit = breakers.admit(NAME, POLICY)
        breakers.report(permit, POLICY, error or TransientError("no answer"))


def succeed(breakers: Breakers) -> None:
    breakers.report(breakers.admit(NAME, POLICY), POLICY, None)


def let_time_pass(connection: psycopg.Connection) -> None:
    connection.execute("UPDATE breakers SET open_until = clock_timestamp(), probe_until = probe_until - interval '1 h'")


def only(breakers: Breakers) -> Breaker:
    [breaker] = breakers.all()
    return breaker


def test_it_opens_after_so_many_failures_in_a_row_and_says_for_how_long(breakers: Breakers) -> None:
    fail(breakers, 2)
    succeed(breakers)
    fail(breakers, 2)
    assert only(breakers).state == "closed"
    fail(breakers)
    with pytest.raises(BreakerOpen, match="muster breakers reset tier:muster_big") as caught:
        breakers.admit(NAME, POLICY)
    assert 0 < (caught.value.retry_after or 0) <= 60
    breaker = only(breakers)
    assert (breaker.state, breaker.failures, breaker.error) == ("open", 3, "TransientError (transient)")
    assert breaker.opened_at is not None


def test_its_state_is_shared(breakers: Breakers, dsn: str) -> None:
    fail(breakers, 3)
    elsewhere = Database(dsn)
    with pytest.raises(BreakerOpen):
        Breakers(elsewhere).admit(NAME, POLICY)
    elsewhere.close()


def test_when_its_time_is_over_one_call_probes_and_a_success_closes_it(
    breakers: Breakers, connection: psycopg.Connection
) -> None:
    fail(breakers, 3)
    let_time_pass(connection)
    probe = breakers.admit(NAME, POLICY)
    assert probe.is_probe
    with pytest.raises(BreakerOpen):
        breakers.admit(NAME, POLICY)
    breakers.report(probe, POLICY, None)
    assert not breakers.admit(NAME, POLICY).is_probe
    assert (only(breakers).state, only(breakers).failures, only(breakers).error) == ("closed", 0, None)


def test_a_probe_that_fails_opens_it_again_for_the_whole_time(
    breakers: Breakers, connection: psycopg.Connection
) -> None:
    fail(breakers, 3)
    let_time_pass(connection)
    fail(breakers)
    assert only(breakers).state == "open"
    assert only(breakers).opens_for > 30
    with pytest.raises(BreakerOpen):
        breakers.admit(NAME, POLICY)


def test_a_probe_that_died_is_followed_by_another_and_its_late_word_is_ignored(
    breakers: Breakers, connection: psycopg.Connection
) -> None:
    fail(breakers, 3)
    let_time_pass(connection)
    died = breakers.admit(NAME, POLICY)
    let_time_pass(connection)
    second = breakers.admit(NAME, POLICY)
    assert second.is_probe
    breakers.report(died, POLICY, None)
    assert only(breakers).state == "half_open"
    breakers.report(second, POLICY, TransientError("still away"))
    breakers.report(died, POLICY, None)
    assert only(breakers).state == "open"


def test_a_probe_that_says_nothing_makes_room_for_the_next(breakers: Breakers, connection: psycopg.Connection) -> None:
    fail(breakers, 3)
    let_time_pass(connection)
    breakers.withdraw(breakers.admit(NAME, POLICY))
    assert breakers.admit(NAME, POLICY).is_probe


def test_what_was_let_through_before_a_change_says_nothing_after_it(
    breakers: Breakers, connection: psycopg.Connection
) -> None:
    early = [breakers.admit(NAME, POLICY) for _ in range(6)]
    for permit in early[:3]:
        breakers.report(permit, POLICY, TransientError("x"))
    assert only(breakers).state == "open"
    opened = only(breakers)
    for permit in early[3:]:
        breakers.report(permit, POLICY, TransientError("x"))
    breakers.report(early[0], POLICY, None)
    assert (only(breakers).opened_at, only(breakers).failures) == (opened.opened_at, 3)
    let_time_pass(connection)
    breakers.report(breakers.admit(NAME, POLICY), POLICY, None)
    for permit in early:
        breakers.report(permit, POLICY, TransientError("x"))
    assert (only(breakers).state, only(breakers).failures) == ("closed", 0)


def test_a_reset_closes_it_and_an_unknown_name_is_said(breakers: Breakers) -> None:
    fail(breakers, 3)
    breakers.reset(NAME)
    assert not breakers.admit(NAME, POLICY).is_probe
    assert only(breakers).state == "closed"
    with pytest.raises(MusterError, match="no circuit breaker 'tier:x'"):
        breakers.reset("tier:x")


def test_with_no_limit_it_never_opens_and_lets_through_what_is_open(breakers: Breakers) -> None:
    never = Policy(failures=0)
    for _ in range(20):
        breakers.report(breakers.admit(NAME, never), never, TransientError("x"))
    assert breakers.all() == []
    fail(breakers, 3)
    assert not breakers.admit(NAME, never).is_probe


def test_one_failure_may_be_enough(breakers: Breakers) -> None:
    fussy = Policy(failures=1)
    breakers.report(breakers.admit(NAME, fussy), fussy, TransientError("x"))
    with pytest.raises(BreakerOpen):
        breakers.admit(NAME, fussy)


def test_a_closed_breaker_costs_no_question_while_it_is_remembered(database: Database) -> None:
    remembering = Breakers(database, cached=60)
    succeed(remembering)
    database._max_size, taken = 4, []
    borrow = database.borrow
    database.borrow = lambda: taken.append(1) or borrow()  # type: ignore[method-assign, func-returns-value]
    permits = [remembering.admit(NAME, POLICY) for _ in range(50)]
    assert taken == []
    for permit in permits:
        remembering.report(permit, POLICY, None)
    assert len(taken) == 50, "whether a success ends a row of failures only the database knows"
    assert remembering.all() == []
    fail(remembering, 3)
    with pytest.raises(BreakerOpen):
        remembering.admit(NAME, POLICY)


def test_a_change_elsewhere_is_noticed_when_the_memory_is_old(breakers: Breakers, dsn: str) -> None:
    elsewhere = Database(dsn)
    other = Breakers(elsewhere, cached=60)
    succeed(other)
    fail(breakers, 3)
    other.admit(NAME, POLICY)
    other._cached = 0.0
    with pytest.raises(BreakerOpen):
        other.admit(NAME, POLICY)
    elsewhere.close()


def test_all_work_of_a_process_shares_what_was_read(database: Database) -> None:
    assert breakers_of(database) is breakers_of(database)


def test_of_many_processes_at_once_one_probes(breakers: Breakers, connection: psycopg.Connection, dsn: str) -> None:
    fail(breakers, 3)
    with Processes(dsn, count=4) as processes:
        for _ in range(20):
            let_time_pass(connection)
            answers = processes.at_once("admit", lambda _: (NAME, POLICY))
            assert sorted(error or "" for _, error in answers) == ["", "BreakerOpen", "BreakerOpen", "BreakerOpen"]
            assert [permit.is_probe for permit, _ in answers if permit is not None] == [True]


async def test_of_many_in_one_process_at_once_one_probes(breakers: Breakers, connection: psycopg.Connection) -> None:
    fail(breakers, 3)
    let_time_pass(connection)
    answers = await asyncio.gather(*(breakers.aadmit(NAME, POLICY) for _ in range(20)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["BreakerOpen"] * 19 + ["Permit"]
    await breakers._database.aclose()


@pytest.mark.parametrize("cached", [0.0, 60.0])
async def test_of_calls_side_by_side_only_failures_in_a_row_open_it(database: Database, cached: float) -> None:
    """All are let through while nothing has failed yet; they come back failed and well in turns."""
    breakers, elsewhere = Breakers(database, cached=cached), Breakers(Database(database.dsn), cached=cached)
    permits = [(each, await each.aadmit(NAME, POLICY)) for _ in range(8) for each in (breakers, elsewhere)]
    for own, permit in permits:
        await own.areport(permit, POLICY, TransientError("no answer") if own is breakers else None)
    assert (only(breakers).state, only(breakers).failures) == ("closed", 0)
    for _ in range(8):
        fail(breakers, 2)
        elsewhere.report(elsewhere.admit(NAME, POLICY), POLICY, None)
    assert only(breakers).state == "closed"
    fail(breakers, 3)
    assert only(breakers).state == "open"
    await database.aclose()
    await elsewhere._database.aclose()


async def guarded(breakers: Breakers, error: BaseException | None = None, seconds: float = 0.0) -> None:
    async with Guard(breakers, NAME, Policy(failures=2, open_seconds=60, probe_seconds=0.2)):
        await asyncio.sleep(seconds)
        if error is not None:
            raise error


async def test_a_guard_counts_what_may_pass_and_nothing_else(breakers: Breakers) -> None:
    for error in (PermanentError("no"), ValueError("bug"), asyncio.CancelledError(), BreakerOpen("tier:x", 1)):
        with pytest.raises(type(error)):
            await guarded(breakers, error)
    assert breakers.all() == []
    for _ in range(2):
        with pytest.raises(TransientError, match="down"):
            await guarded(breakers, TransientError("down"))
    with pytest.raises(BreakerOpen):
        await guarded(breakers)
    await breakers._database.aclose()


async def test_a_guarded_probe_is_cut_off_when_its_time_is_over(
    breakers: Breakers, connection: psycopg.Connection
) -> None:
    for _ in range(2):
        with pytest.raises(TransientError):
            await guarded(breakers, TransientError("down"))
    let_time_pass(connection)
    with pytest.raises(TransientError, match="probe of tier:muster_big took longer"):
        await guarded(breakers, seconds=30)
    assert only(breakers).state == "open"
    await breakers._database.aclose()


def test_a_plain_guard_does_the_same(breakers: Breakers, connection: psycopg.Connection) -> None:
    def call(error: BaseException | None = None) -> None:
        with Guard(breakers, NAME, Policy(failures=1)):
            if error is not None:
                raise error

    with pytest.raises(TransientError):
        call(TransientError("down"))
    with pytest.raises(BreakerOpen):
        call()
    let_time_pass(connection)
    with pytest.raises(ValueError, match="bug"):
        call(ValueError("bug"))
    call()
    assert only(breakers).state == "closed"


def test_a_guard_without_a_database_lets_calls_through() -> None:
    nowhere = Database("postgresql://127.0.0.1:1/none", timeout=0.1)
    with Guard(Breakers(nowhere), NAME, POLICY):
        pass
    nowhere.close()


@pytest.mark.parametrize(
    ("said", "failures"),
    [
        ({}, 5),
        ({"failures": 7}, 7),
        ({"failures": 7, "tier": {"failures": 8}}, 8),
        ({"failures": 7, "tier": {"failures": 8}, "tier:a": {"failures": 9}}, 9),
        ({"tier:b": {"failures": 9}, "agent": {"failures": 1}}, 5),
    ],
)
def test_the_nearest_word_of_the_settings_counts(said: dict[str, object], failures: int) -> None:
    assert policy_of({"breakers": said}, "tier:a").failures == failures


@pytest.mark.parametrize("said", [{"failure": 3}, {"tier": 3}, {"failures": "many"}, [], 3, {"open_seconds": 0}])
def test_settings_that_are_no_policy_are_refused(said: object) -> None:
    with pytest.raises(PermanentError, match=r"docs/recovery\.md"):
        policy_of({"breakers": said}, "tier:a")


def test_what_is_wrong_with_a_policy_is_said_in_one_line() -> None:
    with pytest.raises(PermanentError) as raised:
        policy_of({"breakers": {"failures": -1, "tier": {"when_open": "stop"}}}, "tier:a")
    assert raised.value.message == (
        "The setting `breakers` is no policy for tier:a: "
        "failures: must be at least 0; when_open: must be 'next' or 'wait'."
    )
