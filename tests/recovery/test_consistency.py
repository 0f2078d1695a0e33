"""Checks find what is wrong, change nothing, and say when they cannot be asked."""

from __future__ import annotations

import pytest

from muster.database import Database
from muster.language.definition import ResolvedCheck
from muster.recovery.consistency import violations


def check(sql: str) -> ResolvedCheck:
    return ResolvedCheck(name="it", sql=sql)


def test_a_query_without_an_answer_holds_and_rows_are_what_is_wrong(database: Database) -> None:
    assert violations(database, [check("SELECT 1 WHERE false")]) == []
    (found,) = violations(database, [check("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v")])
    assert (found.check, found.message) == ("it", "1, a; 2, b")


@pytest.mark.parametrize("sql", ["DELETE FROM outbox RETURNING id", "SELECT * FROM nowhere", "SELEKT"])
def test_one_that_cannot_be_asked_is_a_violation_and_changes_nothing(database: Database, sql: str) -> None:
    (found,) = violations(database, [check(sql), check("SELECT 1 WHERE false")])
    assert found.message.startswith("it cannot be asked: ")
