"""`muster breakers` and `muster effects` show what stands still, and take a person's word for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from muster.cli.app import app
from muster.database import Database
from muster.errors import ErrorClass, TransientError
from muster.recovery.breakers import BreakerOpen, Breakers, Policy
from muster.recovery.effects import IdempotentEffect
from muster.recovery.ledger import Effect, Ledger

POLICY = Policy(failures=1)


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch, dsn: str, tmp_path: Path) -> None:
    """A project, and Muster's database by name."""
    (tmp_path / "include" / "automations").mkdir(parents=True)
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("MUSTER_DSN", dsn)
    monkeypatch.setenv("COLUMNS", "200")


def muster(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_an_open_breaker_is_shown_with_its_error_and_closed_by_a_reset(database: Database) -> None:
    assert muster("breakers").output.strip() == "No circuit breaker has counted a failure."
    breakers = Breakers(database, cached=0)
    breakers.report(
        breakers.admit("tier:a", POLICY),
        POLICY,
        TransientError("no answer about jane", error_class=ErrorClass.OVERLOAD),
    )
    shown = muster("breakers").output
    assert "tier:a" in shown
    assert "open" in shown
    assert "TransientError (overload)" in shown
    assert "jane" not in shown
    [entry] = json.loads(muster("breakers", "--json").stdout)
    assert (entry["name"], entry["state"], entry["failures"]) == ("tier:a", "open", 1)
    with pytest.raises(BreakerOpen):
        breakers.admit("tier:a", POLICY)
    result = muster("breakers", "reset", "tier:a")
    assert (result.exit_code, result.output.strip()) == (0, "tier:a is closed: what it guards is called again.")
    breakers.admit("tier:a", POLICY)


def test_a_reset_of_an_unknown_breaker_fails_and_says_so() -> None:
    result = muster("breakers", "reset", "tier:x")
    assert result.exit_code == 1
    assert "There is no circuit breaker 'tier:x'." in result.output


def lose(database: Database) -> None:
    """An effect whose outcome nobody knows."""

    def lost() -> None:
        raise TransientError("no answer")

    with pytest.raises(TransientError):
        IdempotentEffect(Ledger(database), Effect.of("a/1/pay", "charge", 5, "a/1")).perform(lost)


def test_an_effect_in_doubt_is_shown_and_settled_by_a_person(database: Database) -> None:
    assert muster("effects").output.strip() == "There are no such effects."
    lose(database)
    shown = muster("effects", "--in-doubt").output
    assert "a/1/pay" in shown
    assert "TransientError: no answer" in shown
    assert "1 in doubt" in shown
    result = muster("effects", "settle", "a/1/pay", "--happened", "--result", '{"receipt": 7}')
    assert (result.exit_code, result.output.strip()) == (0, "a/1/pay is settled. It counts as done.")
    [entry] = json.loads(muster("effects", "--run", "a/1", "--json").stdout)
    assert (entry["status"], entry["result"]) == ("done", {"receipt": 7})
    again = muster("effects", "settle", "a/1/pay", "--never-happened")
    assert again.exit_code == 1
    assert "not in doubt" in again.output


@pytest.mark.parametrize("arguments", [["a/1/pay"], ["a/1/pay", "--happened", "--result", "{"]])
def test_a_word_that_cannot_be_understood_changes_nothing(database: Database, arguments: list[str]) -> None:
    lose(database)
    assert muster("effects", "settle", *arguments).exit_code == 2
    assert Ledger(database).entries(in_doubt=True)
