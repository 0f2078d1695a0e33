"""Pools that outlive a server's restart."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest

from muster.database import Database

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def cut_all(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(CUT)
        while connection.execute(CUT).rowcount:
            pass


def test_connections_the_server_cut_while_idle_are_replaced_unseen(dsn: str) -> None:
    database = Database(dsn)
    for _ in range(3):
        with database.connection() as one, database.connection() as other:
            one.execute("SELECT 1")
            other.execute("SELECT 1")
        cut_all(dsn)
    loan = database.borrow()
    assert loan.connection.execute("SELECT 2").fetchone() == (2,)
    database.give_back(loan)
    database.close()


async def test_coroutines_do_not_see_a_cut_idle_connection_either(dsn: str) -> None:
    database = Database(dsn)
    for _ in range(3):
        async with database.aconnection() as connection:
            await connection.execute("SELECT 1")
        cut_all(dsn)
    await database.aclose()


def test_a_broken_borrowed_connection_is_not_lost_to_the_pool(dsn: str) -> None:
    database = Database(dsn, max_size=1, timeout=5)
    for _ in range(3):
        loan = database.borrow()
        loan.connection.execute("BEGIN")
        cut_all(dsn)
        with pytest.raises(psycopg.OperationalError):
            loan.connection.execute("SELECT 1")
        database.give_back(loan)
    loan = database.borrow()
    loan.connection.execute("BEGIN")
    database.give_back(loan)
    with database.connection() as connection:
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    database.close()


def test_threads_that_come_first_together_share_one_pool(dsn: str) -> None:
    for _ in range(10):
        database = Database(dsn)
        together = threading.Barrier(6)

        def ask(database: Database = database, together: threading.Barrier = together) -> int:
            together.wait()
            with database.connection() as connection:
                return len(connection.execute("SELECT 1").fetchall())

        with ThreadPoolExecutor(6) as threads:
            assert sum(each.result() for each in [threads.submit(ask) for _ in range(6)]) == 6
        database.close()


def test_a_connection_given_back_after_the_database_was_closed_is_closed(dsn: str) -> None:
    database = Database(dsn)
    loan = database.borrow()
    database.close()
    database.give_back(loan)
    assert loan.connection.closed
    with database.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    database.close()


@pytest.mark.parametrize("size", [1, 2])
def test_threads_that_outnumber_the_connections_wait_and_none_is_forgotten(dsn: str, size: int) -> None:
    database = Database(dsn, max_size=size, timeout=20)

    def work(number: int) -> set[int]:
        pids = set()
        for turn in range(150):
            if (number + turn) % 3:
                loan = database.borrow()
                pids.add(loan.connection.info.backend_pid)
                database.give_back(loan)
            else:
                with database.connection() as connection:
                    pids.add(connection.info.backend_pid)
        return pids

    with ThreadPoolExecutor(6) as threads:
        used = set().union(*[each.result() for each in [threads.submit(work, number) for number in range(6)]])
    assert 1 <= len(used) <= size
    database.close()


def test_one_that_comes_back_to_a_closed_database_is_closed_and_one_at_hand_as_well(dsn: str) -> None:
    database = Database(dsn)
    first = database.borrow()
    database.give_back(first)
    second = database.borrow()
    assert second.connection is first.connection, "what came back last is given out next"
    database.give_back(second)
    database.close()
    assert first.connection.closed


LEFT_BEHIND = (
    "SELECT pg_advisory_lock(4711)",
    "SET search_path = nowhere",
    "SET ROLE pg_read_all_data",
    "CREATE TEMP TABLE mine (n integer)",
    "LISTEN mine",
    "DECLARE mine CURSOR WITH HOLD FOR SELECT 1",
)
FOUND = (
    "SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),"
    " current_setting('search_path') = 'nowhere', current_user = session_user, to_regclass('pg_temp.mine') IS NULL,"
    " (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_cursors WHERE name = 'mine'),"
    " pg_backend_pid()"
)


@pytest.mark.parametrize("fails", [False, True], ids=["", "after a failure"])
@pytest.mark.parametrize("statement", LEFT_BEHIND)
def test_nothing_of_a_session_stays_with_its_connection(dsn: str, statement: str, fails: bool) -> None:
    database = Database(dsn, max_size=1)
    with suppress(ZeroDivisionError), database.connection() as connection:
        connection.execute(statement)
        connection.commit()
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (None,)
        if fails:
            connection.execute("SELECT 1")
            raise ZeroDivisionError
    with database.connection() as connection:
        assert connection.execute(FOUND).fetchone() == (0, False, True, True, 0, 0, pid)
    loan = database.borrow()
    assert loan.connection.execute(FOUND).fetchone() == (0, False, True, True, 0, 0, pid)
    database.give_back(loan)
    database.close()


@pytest.mark.parametrize("statement", LEFT_BEHIND)
async def test_nothing_of_a_session_stays_for_coroutines_either(dsn: str, statement: str) -> None:
    database = Database(dsn, max_size=1)
    async with database.aconnection() as connection:
        await connection.execute(statement)
        await connection.commit()
        (pid,) = await (await connection.execute("SELECT pg_backend_pid()")).fetchone() or (None,)
    async with database.aconnection() as connection:
        assert await (await connection.execute(FOUND)).fetchone() == (0, False, True, True, 0, 0, pid)
    await database.aclose()
