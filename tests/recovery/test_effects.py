"""Effects outside: once, never blindly again, and each key for one request only."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.errors import MusterError, PermanentError, TransientError
from muster.events.driver import Work, run
from muster.recovery import renewing
from muster.recovery.effects import IdempotentEffect
from muster.recovery.holding import holding
from muster.recovery.leases import LeaseLost, Leases
from muster.recovery.ledger import (
    CANNOT_TELL,
    NEVER_HAPPENED,
    Begun,
    Effect,
    EffectConflict,
    FindOut,
    Happened,
    Ledger,
    NotPerformed,
    OutcomeUnknown,
    begin,
    cannot_tell,
    repeatable,
)
from support.bank import bank_server, charge
from support.outside import SHORT, charge_slowly, charge_slowly_holding_the_loop
from support.waiting import eventually

CHARGE = Effect.of("run/pay", "charge", {"amount": "9.50"}, "run")


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as opened:
        yield opened


class Bank:
    """The other side: it charges whenever it is asked to."""

    def __init__(self, *errors: BaseException) -> None:
        self.charges = 0
        self.errors = list(errors)

    def charge(self) -> dict[str, Any]:
        """Charge; an error of the list comes after the charge."""
        self.charges += 1
        if self.errors:
            raise self.errors.pop(0)
        return {"receipt": self.charges}

    async def acharge(self) -> dict[str, Any]:
        """The same for coroutines."""
        return self.charge()


def once(ledger: Ledger, find_out: FindOut = cannot_tell, **more: Any) -> IdempotentEffect:
    return IdempotentEffect(ledger, CHARGE, find_out, **more)


def crash(connection: psycopg.Connection) -> None:
    """As an attempt leaves it that was killed long ago."""
    connection.execute(
        "INSERT INTO effects (key, kind, request, run, status, claimed_until) "
        "VALUES (%s, %s, %s, %s, 'begun', clock_timestamp() - interval '1 s')",
        (CHARGE.key, CHARGE.kind, CHARGE.request, CHARGE.run),
    )


def status(ledger: Ledger) -> str:
    [entry] = ledger.entries()
    return entry.status


def test_an_effect_that_happened_is_not_performed_again_and_gives_the_same_result(ledger: Ledger) -> None:
    bank = Bank()
    assert once(ledger).perform(bank.charge) == {"receipt": 1}
    assert once(ledger).perform(bank.charge) == {"receipt": 1}
    assert bank.charges == 1
    [entry] = ledger.entries(run="run")
    assert (entry.status, entry.attempt, entry.result, entry.kind) == ("done", 1, {"receipt": 1}, "charge")


def test_the_same_key_with_another_request_is_refused(ledger: Ledger) -> None:
    bank = Bank()
    once(ledger).perform(bank.charge)
    for other in (Effect.of(CHARGE.key, "charge", {"amount": "9.51"}), Effect(CHARGE.key, "refund", CHARGE.request)):
        with pytest.raises(EffectConflict, match="another request") as found:
            IdempotentEffect(ledger, other).perform(bank.charge)
        assert "take it back by its own means" in found.value.remedy
    assert bank.charges == 1


def test_another_request_for_what_is_in_doubt_waits_until_a_person_has_said_what_happened(
    ledger: Ledger, connection: psycopg.Connection
) -> None:
    crash(connection)
    bank, mended = Bank(), Effect.of(CHARGE.key, "charge", {"amount": "9.51"})
    for _ in range(2):
        with pytest.raises(EffectConflict) as found:
            IdempotentEffect(ledger, mended, repeatable).perform(bank.charge)
        assert "muster effects settle" in found.value.remedy
    with once(ledger, repeatable), pytest.raises(EffectConflict):
        IdempotentEffect(ledger, mended, repeatable).perform(bank.charge)
    connection.execute("UPDATE effects SET status = 'unknown', claimed_until = NULL")
    ledger.decide(CHARGE.key, happened=False)
    assert IdempotentEffect(ledger, mended).perform(bank.charge) == {"receipt": 1}


def test_what_did_not_happen_is_done_with_a_corrected_request_which_the_key_stands_for_from_then_on(
    ledger: Ledger,
) -> None:
    def refuse() -> None:
        raise PermanentError("no such account")

    with pytest.raises(PermanentError, match="no such account"):
        once(ledger).perform(refuse)
    bank, mended = Bank(), Effect.of(CHARGE.key, "payment", {"amount": "9.51"})
    assert IdempotentEffect(ledger, mended).perform(bank.charge) == {"receipt": 1}
    assert IdempotentEffect(ledger, mended).perform(bank.charge) == {"receipt": 1}
    with pytest.raises(EffectConflict):
        once(ledger).perform(bank.charge)
    [entry] = ledger.entries()
    assert (bank.charges, entry.kind, entry.attempt) == (1, "payment", 2)


@pytest.fixture
def unrenewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that lives and cannot renew its claims, as when its machine stood still: others may overtake it."""
    monkeypatch.setattr(renewing, "renew", lambda dsn, claims: set())


@pytest.mark.usefixtures("unrenewed")
async def test_a_slow_attempt_that_comes_through_late_says_what_it_did_and_not_what_was_corrected(
    ledger: Ledger,
) -> None:
    mended = Effect.of(CHARGE.key, "charge", {"amount": "9.51"})

    async def refuse() -> None:
        raise PermanentError("refused")

    async with once(ledger, patience=60, grace=-59.9) as slow:
        await asyncio.sleep(0.15)
        with pytest.raises(PermanentError, match="refused"):
            await once(ledger, repeatable).aperform(refuse)
        with pytest.raises(TransientError):
            await IdempotentEffect(ledger, mended).aperform(Bank(TransientError("killed before it was sent")).acharge)
        slow.result = "late"
    with pytest.raises(EffectConflict):
        await IdempotentEffect(ledger, mended, repeatable).aperform(Bank().acharge)
    assert await once(ledger).aperform(Bank().acharge) == "late"
    await ledger.database.aclose()


def test_an_effect_that_did_not_happen_is_performed_by_the_next_attempt(ledger: Ledger) -> None:
    for error in (PermanentError("refused"), NotPerformed("no connection")):

        def refuse(error: MusterError = error) -> None:
            raise error

        with pytest.raises(type(error)):
            once(ledger).perform(refuse)
        assert status(ledger) == "failed"
    bank = Bank()
    assert once(ledger).perform(bank.charge) == {"receipt": 1}
    [entry] = ledger.entries()
    assert (entry.status, entry.attempt, entry.error) == ("done", 3, None)


@pytest.mark.parametrize("error", [TransientError("no answer"), ConnectionResetError("cut"), KeyboardInterrupt()])
def test_after_an_error_that_says_nothing_the_next_attempt_asks_what_happened(
    ledger: Ledger, error: BaseException
) -> None:
    bank = Bank(error)
    with pytest.raises(type(error)):
        once(ledger).perform(bank.charge)
    assert status(ledger) == "unknown"
    assert once(ledger, lambda: Happened({"receipt": "found"})).perform(bank.charge) == {"receipt": "found"}
    assert once(ledger).perform(bank.charge) == {"receipt": "found"}
    assert bank.charges == 1


def test_after_a_crash_what_never_happened_is_performed(ledger: Ledger, connection: psycopg.Connection) -> None:
    crash(connection)
    bank = Bank()
    assert once(ledger, lambda: NEVER_HAPPENED).perform(bank.charge) == {"receipt": 1}
    assert once(ledger).perform(bank.charge) == {"receipt": 1}
    assert bank.charges == 1


def test_after_a_crash_that_nobody_can_tell_of_a_person_decides(ledger: Ledger, connection: psycopg.Connection) -> None:
    crash(connection)
    bank = Bank()
    for find_out in (cannot_tell, lambda: CANNOT_TELL):
        with pytest.raises(OutcomeUnknown, match="muster effects settle"):
            once(ledger, find_out).perform(bank.charge)
    [entry] = ledger.entries(in_doubt=True)
    assert (entry.key, entry.status) == (CHARGE.key, "unknown")
    ledger.decide(CHARGE.key, happened=True, result={"receipt": "by hand"})
    assert once(ledger).perform(bank.charge) == {"receipt": "by hand"}
    assert bank.charges == 0
    assert ledger.entries(in_doubt=True) == []
    with pytest.raises(MusterError, match="not in doubt"):
        ledger.decide(CHARGE.key, happened=False)


def test_a_person_may_say_that_it_never_happened(ledger: Ledger, connection: psycopg.Connection) -> None:
    crash(connection)
    ledger.decide(CHARGE.key, happened=False)
    assert once(ledger).perform(Bank().charge) == {"receipt": 1}


def test_an_effect_that_is_being_performed_cannot_be_decided(ledger: Ledger) -> None:
    with once(ledger), pytest.raises(MusterError, match="not in doubt"):
        ledger.decide(CHARGE.key, happened=False)


def test_a_find_out_that_fails_leaves_the_doubt(ledger: Ledger, connection: psycopg.Connection) -> None:
    crash(connection)

    def down() -> Happened:
        raise TransientError("the bank does not answer")

    with pytest.raises(TransientError, match="the bank"):
        once(ledger, down).perform(Bank().charge)
    assert status(ledger) == "unknown"
    assert once(ledger, repeatable).perform(Bank().charge) == {"receipt": 1}


def test_a_body_that_said_it_happened_is_believed_whatever_follows(ledger: Ledger) -> None:
    def body() -> None:
        with once(ledger) as effect:
            effect.result = 7
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        body()
    assert once(ledger).perform(Bank().charge) == 7


async def test_of_several_at_once_one_performs_and_all_get_its_result(ledger: Ledger) -> None:
    bank = Bank()

    async def charge() -> dict[str, Any]:
        await asyncio.sleep(0.2)
        return bank.charge()

    results = await asyncio.gather(*(once(ledger).aperform(charge) for _ in range(5)))
    assert results == [{"receipt": 1}] * 5
    assert bank.charges == 1
    await ledger.database.aclose()


async def test_of_several_that_find_it_in_doubt_one_asks(ledger: Ledger, connection: psycopg.Connection) -> None:
    crash(connection)
    asked = []

    async def find_out() -> Happened:
        asked.append(1)
        await asyncio.sleep(0.2)
        return Happened("found")

    bank = Bank()
    results = await asyncio.gather(*(once(ledger, find_out).aperform(bank.acharge) for _ in range(5)))
    assert (results, asked, bank.charges) == (["found"] * 5, [1], 0)
    await ledger.database.aclose()


async def test_an_effect_that_takes_too_long_is_given_up_and_in_doubt(ledger: Ledger) -> None:
    async def hang() -> None:
        await asyncio.sleep(60)

    with pytest.raises(TransientError, match="took longer"):
        await once(ledger, patience=0.05).aperform(hang)
    assert status(ledger) == "unknown"
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await ledger.database.aclose()


async def test_a_cancelled_effect_is_in_doubt(ledger: Ledger) -> None:
    begun = asyncio.Event()

    async def hang() -> None:
        begun.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(once(ledger).aperform(hang))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert status(ledger) == "unknown"
    await ledger.database.aclose()


@pytest.mark.usefixtures("unrenewed")
async def test_who_was_overtaken_cannot_undo_the_success_of_another(ledger: Ledger) -> None:
    bank = Bank()

    async def overtaken() -> None:
        await asyncio.sleep(0.15)
        await once(ledger, repeatable).aperform(bank.acharge)
        raise PermanentError("mine failed")

    with pytest.raises(PermanentError, match="mine failed"):
        await once(ledger, patience=60, grace=-59.9).aperform(overtaken)
    assert await once(ledger).aperform(bank.acharge) == {"receipt": 1}
    async with once(ledger) as effect:
        assert effect.happened
    await ledger.database.aclose()


@pytest.mark.usefixtures("unrenewed")
async def test_two_that_both_performed_agree_on_the_first_result(ledger: Ledger) -> None:
    first = once(ledger, patience=60, grace=-59.9)
    async with first:
        await asyncio.sleep(0.15)
        assert await once(ledger, repeatable).aperform(Bank().acharge) == {"receipt": 1}
        first.result = "second"
    assert first.result == {"receipt": 1}
    await ledger.database.aclose()


async def test_an_effect_under_a_lost_lease_is_not_begun(
    ledger: Ledger, database: Database, connection: psycopg.Connection
) -> None:
    bank = Bank()

    async def body() -> None:
        async with holding(Leases(database), ["x"], "me"):
            connection.execute("UPDATE leases SET expires_at = clock_timestamp()")
            with pytest.raises(LeaseLost):
                await once(ledger).aperform(bank.acharge)
            with pytest.raises(LeaseLost):
                await asyncio.to_thread(once(ledger).perform, bank.charge)

    with pytest.raises(LeaseLost):
        await body()
    assert (bank.charges, ledger.entries()) == (0, [])
    await database.aclose()


@pytest.mark.parametrize("value", [None, 0, "\0", "\ud800", ["é", {"a": 1.5}], "x" * 100_000])
def test_a_result_comes_back_as_it_was(ledger: Ledger, value: Any) -> None:
    assert once(ledger).perform(lambda: value) == value
    assert once(ledger).perform(Bank().charge) == value


def test_an_error_of_any_text_is_kept(ledger: Ledger) -> None:
    def odd() -> None:
        raise PermanentError("a\0b\ud800" + "x" * 10_000)

    with pytest.raises(PermanentError):
        once(ledger).perform(odd)
    [entry] = ledger.entries()
    assert entry.error is not None
    assert entry.error.startswith("PermanentError: a\ufffdb?")


def test_a_coroutine_as_find_out_of_a_plain_with_is_said_and_leaves_the_doubt(
    ledger: Ledger, connection: psycopg.Connection
) -> None:
    crash(connection)

    async def find_out() -> Happened:
        return Happened()

    with pytest.raises(TypeError, match="async with"):
        once(ledger, find_out).perform(Bank().charge)
    assert status(ledger) == "unknown"


@pytest.mark.parametrize("slow", [charge_slowly, charge_slowly_holding_the_loop])
def test_a_slow_effect_is_left_to_the_process_that_performs_it(
    ledger: Ledger, dsn: str, slow: Callable[[str, str, str], None]
) -> None:
    is_over, asked = threading.Event(), list[str]()
    with bank_server() as bank:
        bank.meanwhile = lambda: is_over.wait(60)
        process = multiprocessing.get_context("spawn").Process(target=slow, args=(dsn, bank.url, "pay"))
        process.start()
        assert eventually(lambda: bank.charges["pay"] == 1)
        time.sleep(sum(SHORT.values()) + 1)

        def find_out() -> Any:
            asked.append("whether it happened")
            return NEVER_HAPPENED

        threading.Timer(1.0, is_over.set).start()
        other = IdempotentEffect(ledger, Effect.of("pay", "charge", {"of": "pay"}), find_out)
        assert other.perform(lambda: charge(bank.url, "pay")) == 1
        process.join(60)
        assert (process.exitcode, asked, bank.charges) == (0, [], {"pay": 1})


def test_one_that_is_pruned_while_it_is_looked_at_is_begun_anew(
    ledger: Ledger, database: Database, connection: psycopg.Connection
) -> None:
    bank = Bank()
    once(ledger).perform(bank.charge)
    looked = begin(CHARGE, 60.0)

    def pruned_meanwhile() -> Work[Any]:
        answers = yield next(looked)
        connection.execute("DELETE FROM effects")
        while True:
            try:
                answers = yield looked.send(answers)
            except StopIteration as stop:
                return stop.value

    assert run(database, pruned_meanwhile()) == Begun(attempt=1)
    assert status(ledger) == "begun"
