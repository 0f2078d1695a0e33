"""Checks find what is wrong, change nothing, and say when they cannot be asked."""

from __future__ import annotations

import psycopg
import pytest

from muster.database import Database
from muster.errors import TransientError
from muster.language.definition import ResolvedCheck
from muster.recovery import consistency
from muster.recovery.consistency import violations
from support.postgres_proxy import postgres_proxy


def check(sql: str) -> ResolvedCheck:
    return ResolvedCheck(name="it", sql=sql)


def test_a_query_without_an_answer_holds_and_rows_are_what_is_wrong(database: Database) -> None:
    assert violations(database, [check("SELECT 1 WHERE false")]) == []
    (found,) = violations(database, [check("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v")])
    assert (found.check, found.message) == ("it", "1, a; 2, b")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM outbox RETURNING id",
        "SELECT * FROM nowhere",
        "SELEKT",
        "SELECT lastval()",
        "SELECT nextval('outbox_id_seq')",
        "COPY (SELECT 1) TO STDOUT",
        "COMMIT",
        "",
    ],
)
def test_one_that_cannot_be_asked_is_a_violation_and_changes_nothing(database: Database, sql: str) -> None:
    (found,) = violations(database, [check(sql), check("SELECT 1 WHERE false")])
    assert found.message.startswith("it cannot be asked: ")


def test_one_that_takes_too_long_keeps_no_other_from_being_asked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistency, "LONGEST_WAIT", "100ms")
    slow, other = violations(database, [check("SELECT pg_sleep(60)"), check("SELECT 'found'")])
    assert (slow.message, other.message) == (
        "it cannot be asked: canceling statement due to statement timeout",
        "found",
    )


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT; CREATE TABLE strangers (); SELECT 1",
        "SELECT 1; SELECT 2",
        "SET TRANSACTION READ WRITE; CREATE TABLE strangers ()",
    ],
)
def test_several_statements_are_no_check_and_none_of_them_is_carried_out(database: Database, sql: str) -> None:
    (found,) = violations(database, [check(sql)])
    assert found.message.startswith("it cannot be asked: ")
    with database.connection() as connection:
        assert connection.execute("SELECT to_regclass('strangers')").fetchone() == (None,)


def test_what_a_check_sets_does_not_stay_with_the_connection(database: Database) -> None:
    assert violations(database, [check("SELECT 1 WHERE set_config('muster.left', 'behind', false) = ''")]) == []
    (found,) = violations(database, [check("SELECT coalesce(current_setting('muster.left', true), '')")])
    assert found.message == ""


def test_a_database_that_is_lost_is_no_finding(database: Database) -> None:
    with pytest.raises(TransientError):
        violations(database, [check("SELECT pg_terminate_backend(pg_backend_pid())")])


def test_of_many_rows_only_those_shown_are_read_and_the_others_counted(dsn: str) -> None:
    with postgres_proxy(dsn) as proxy:
        through = Database(proxy.dsn)
        (found,) = violations(through, [check("SELECT n, repeat('x', 100) FROM generate_series(1, 300000) n")])
        through.close()
    assert found.text.endswith("; and 299,995 more")
    assert found.message.startswith("1, xxx")
    assert proxy.received < 100_000


def test_rows_that_take_too_long_to_count_are_still_shown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistency, "LONGEST_WAIT", "500ms")
    slow = "SELECT n, CASE WHEN n > 5 THEN pg_sleep(1) END FROM generate_series(1, 60) n"
    (found,) = violations(database, [check(slow)])
    assert found.text.endswith("; and more")
    assert found.message.startswith("1, ")


@pytest.mark.parametrize(
    "sql", ["VALUES (1)", "TABLE outbox", "WITH a AS (SELECT 1) SELECT * FROM a; -- all", "(SELECT 1)"]
)
def test_every_way_to_write_a_query_can_be_asked(database: Database, sql: str) -> None:
    assert not any("cannot be asked" in found.message for found in violations(database, [check(sql)]))


def test_a_lock_that_a_check_takes_for_its_session_ends_with_it(database: Database, dsn: str) -> None:
    violations(database, [check("SELECT pg_advisory_lock(4711)")])
    with psycopg.connect(dsn) as other:
        assert other.execute("SELECT pg_try_advisory_lock(4711)").fetchone() == (True,)
