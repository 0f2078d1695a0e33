"""Dead letters are found by what they are, kept whole, and gone once a person has decided."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_discard
from muster.recovery.dead_letters import DeadLetters, Filter
from support.depot import AUTOMATION, Depot


@pytest.fixture
def depot(tmp_path: Path, database: Database) -> Depot:
    """The site."""
    return Depot(tmp_path, database)


def ids(database: Database, discarded: bool = False, **wanted: object) -> list[str]:
    """What the filter lets through."""
    return [it.id for it in DeadLetters(database).waiting(Filter(**wanted), limit=10, discarded=discarded)]  # type: ignore[arg-type]


def test_failed_items_and_failed_steps_are_dead_letters_until_they_came_through(
    depot: Depot, database: Database
) -> None:
    run = depot.run(1, "b", "d")
    other = depot.run(1, "first")
    assert set(ids(database)) == {f"{run}#each[1]", f"{run}#each[3]", f"{other}#first"}
    letter = DeadLetters(database).get(f"{run}#each[1]")
    assert (letter.kind, letter.cause, letter.error_class) == ("item", "b is broken", "PermanentError")
    depot.perform(run, depot.redrive(run, each=[1]))
    assert set(ids(database)) == {f"{run}#each[3]", f"{other}#first"}


def test_filters_leave_what_they_name(depot: Depot, database: Database) -> None:
    run = depot.run(1, "b")
    other = depot.run(1, "first")
    assert ids(database, step="first") == [f"{other}#first"]
    assert ids(database, run=run) == [f"{run}#each[1]"]
    assert len(ids(database, error_class="PermanentError", automation="tested")) == 2
    assert ids(database, error_class="TransientError") == ids(database, automation="else") == []
    assert ids(database, older_than=timedelta(hours=1)) == []
    assert len(ids(database, older_than=timedelta(0))) == 2


def test_what_was_discarded_is_listed_only_when_asked_for(depot: Depot, database: Database) -> None:
    run = depot.run(1, "b", "d")
    log = depot.site.services.log
    order(log, plan_discard(log, run, {"each": [3]}, by="ada", reason="paid by hand"))
    assert ids(database) == [f"{run}#each[1]"]
    assert set(ids(database, discarded=True)) == {f"{run}#each[1]", f"{run}#each[3]"}
    [event] = [event for event in log.read(run) if event.type == "dead_letter.discarded"]
    assert (event.actor, event.data["reason"]) == ("ada", "paid by hand")


def test_a_run_that_failed_without_a_word_of_any_step_is_one(depot: Depot, database: Database) -> None:
    run = depot.site.open(depot.site.definition(AUTOMATION.format(pack=1)), folder="", names=[])
    depot.site.close(run, {"first": "failed"})
    [letter] = DeadLetters(database).waiting(Filter(), limit=10)
    assert (letter.id, letter.kind, letter.step) == (run, "run", None)


def test_a_run_as_a_whole_is_discarded_until_it_has_ended_anew(depot: Depot, database: Database) -> None:
    run = depot.site.open(depot.site.definition(AUTOMATION.format(pack=1)), folder="", names=[])
    depot.site.close(run, {"first": "failed"})
    log = depot.site.services.log
    order(log, plan_discard(log, run, {}, by="ada", reason="nobody needs it"))
    assert ids(database) == []
    assert ids(database, discarded=True) == [run]
    assert DeadLetters(database).get(run).decision == "discarded"
    with pytest.raises(MusterError, match="was discarded; nothing was changed"):
        plan_discard(log, run, {}, by="bob", reason="again")
    depot.restart(run, "first")
    depot.site.close(run, {"first": "failed"}, epoch=1)
    assert ids(database) == [run]


def test_only_a_run_that_failed_is_discarded_as_a_whole(depot: Depot) -> None:
    run = depot.run(1)
    log = depot.site.services.log
    with pytest.raises(MusterError, match="is no dead letter: it is succeeded"):
        plan_discard(log, run, {}, by="ada", reason="x")


@pytest.mark.parametrize(("by", "waits"), [("ann", False), ("reconciler", True)])
def test_a_run_that_a_person_cancelled_before_anything_failed_is_none(
    depot: Depot, database: Database, by: str, waits: bool
) -> None:
    run = depot.site.open(depot.site.definition(AUTOMATION.format(pack=1)), folder="", names=[])
    request_cancel(depot.site.services.log, run, by=by)
    depot.site.close(run)
    assert depot.site.state(run).status == "failed"
    assert ids(database) == ([run] if waits else [])
    depot.restart(run, "first")
    depot.site.close(run, {"first": "failed"}, epoch=1)
    assert ids(database) == [run], "restarted, it failed by itself"


def test_a_run_that_was_redriven_after_it_was_cancelled_can_be_one(depot: Depot, database: Database) -> None:
    depot.definition = depot.site.definition(AUTOMATION.format(pack=1))
    run = depot.site.open(depot.definition, folder=str(depot.folder), names=["a", "b"])
    (depot.folder / "b.broken").touch()
    depot.site.step(run, "first")
    depot.site.all_of(run, "each")
    request_cancel(depot.site.services.log, run, by="ann")
    depot.site.close(run)
    assert ids(database) == [f"{run}#each[1]"]
    (depot.folder / "b.broken").unlink()
    depot.perform(run, depot.redrive(run, each=[1]), steps=["each", "then"])
    depot.site.close(run, {"last": "failed"}, epoch=1)
    assert ids(database) == [run]


def test_a_notice_that_could_not_be_delivered_is_one(database: Database) -> None:
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO outbox (key, channel, target, subject, text, status, error, attempts)"
            " VALUES ('k', 'slack', '#ops', '', 'x', 'failed', 'no such channel', 1)"
        )
    [letter] = DeadLetters(database).waiting(Filter(), limit=10)
    assert (letter.kind, letter.cause) == ("notice", "no such channel")


def test_an_unknown_one_is_said(database: Database) -> None:
    with pytest.raises(MusterError, match="There is no dead letter 'x#y'"):
        DeadLetters(database).get("x#y")
