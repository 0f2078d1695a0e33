"""Promises of a person's word about a run: it is given once, and about what is at rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from muster.errors import ConcurrencyError, PermanentError
from muster.events.model import EventType
from muster.operations.redoing import order, plan_restart
from muster.saga.closing import counts_of
from muster.saga.resuming import FORGOTTEN, AlreadyResumed, UnderWay, end_by_hand, resumable, resume
from support.reconciled import FakeAirflow, begun_again, found, performed_whole
from support.runs import Site
from support.stuck import FINAL, SKILLS, stuck

pytestmark = pytest.mark.skills(depot=SKILLS)


def restart(site: Site, run: str, *, by: str = "ada") -> None:
    log = site.services.log
    order(log, plan_restart(log, site.services.definitions, run, "one", by=by))


def resumed(site: Site, run: str, **how: Any) -> None:
    resume(site.services.log, run, by="bob", **how)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("first", "said"),
    [(restart, "ada has restarted it from one at"), (resumed, "bob has resumed it at")],
    ids=["restarted", "resumed"],
)
@pytest.mark.parametrize("second", [restart, resumed])
def test_what_goes_on_already_is_neither_restarted_nor_resumed(
    site: Site, first: Callable[..., None], said: str, second: Callable[..., None], begun: bool
) -> None:
    run = stuck(site, source=FINAL)
    first(site, run)
    if begun:
        assert site.do(begun_again(site, run)) == 1
    version = site.services.log.version(run)
    with pytest.raises(UnderWay, match="bob has resumed" if first is second is resumed and not begun else said) as told:
        second(site, run)
    assert told.value.remedy is not None
    if type(told.value) is UnderWay:
        assert ("after ten minutes" in told.value.remedy) is not begun
        assert (f"muster cancel {run}" in told.value.remedy) is (first is restart)
    assert site.services.log.version(run) == version


def test_a_restarted_run_that_dies_goes_on_with_the_restart(site: Site) -> None:
    run = stuck(site, source=FINAL)
    restart(site, run)
    assert site.do(begun_again(site, run)) == 1
    site.step(run, "one", epoch=1)
    with pytest.raises(UnderWay):
        resumed(site, run)
    (site.include / "mended").touch()
    assert found(site, FakeAirflow("failed"))[0].mended
    performed_whole(site, run)
    state = site.state(run)
    assert (state.status, state.step("one").status, state.step("two").status) == ("succeeded",) * 3


def test_once_it_has_ended_anew_it_can_be_decided_about_again(site: Site) -> None:
    run = stuck(site)
    for number in range(3):
        assert resumable(site.services.log, run).epoch == number
        resumed(site, run)
        assert site.do(begun_again(site, run)) == number + 1
        site.unwind(run, epoch=number + 1)
        if number != 1:
            site.close(run, epoch=number + 1)
    with pytest.raises(PermanentError, match="has begun and has not come to its end"):
        restart(site, run)
    assert site.state(run).status == "stuck"
    resumed(site, run, by_hand=True)
    assert site.do(begun_again(site, run)) == 4
    site.unwind(run, epoch=4)
    site.close(run, epoch=4)
    assert site.state(run).status == "compensated"
    restart(site, run)


def test_a_word_given_before_the_run_that_got_stuck_is_closed_stands(site: Site) -> None:
    run = stuck(site, closed=False)
    resumed(site, run)
    site.close(run)
    version = site.services.log.version(run)
    with pytest.raises(AlreadyResumed):
        resumed(site, run)
    with pytest.raises(UnderWay, match="bob has resumed it"):
        restart(site, run)
    assert site.services.log.version(run) == version
    assert site.do(begun_again(site, run)) == 1


def test_what_a_person_did_by_hand_is_written_with_their_word_or_not_at_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stuck(site)
    log, append = site.services.log, site.services.log.append
    appended: list[list[str]] = []

    def only_once(stream: str, events: Any, **how: Any) -> Any:
        assert not appended, "a process that dies in between leaves a half"
        appended.append([event.type for event in events])
        return append(stream, events, **how)

    monkeypatch.setattr(log, "append", only_once)
    resumed(site, run, by_hand=True)
    assert appended == [[EventType.RUN_RESUMED, EventType.COMPENSATION_SUCCEEDED]]
    assert site.state(run).step("one").whole.undoing.by_hand  # type: ignore[union-attr]


def test_where_airflow_knows_it_no_more_it_is_closed_with_their_word_or_not_at_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stuck(site)
    log, append = site.services.log, site.services.log.append
    appended: list[list[str]] = []

    def only_once(stream: str, events: Any, **how: Any) -> Any:
        assert not appended, "a process that dies in between leaves a half"
        appended.append([event.type for event in events])
        return append(stream, events, **how)

    monkeypatch.setattr(log, "append", only_once)
    end_by_hand(log, run, by="bob", seen=resumable(log, run))
    [written] = appended
    assert (written[0], written[-1]) == (EventType.RUN_RESUMED, EventType.RUN_CLOSED)
    assert set(written[1:-1]) == {EventType.COMPENSATION_SUCCEEDED}
    state = site.state(run)
    assert (state.status, state.step("one").whole.status) == ("compensated", "undone")
    [closed] = log.read(run, types=[EventType.RUN_CLOSED], after_version=state.version - 1)
    assert closed.data["counts"] == counts_of(state)
    assert found(site, FakeAirflow(None)) == []


def test_a_decision_is_made_again_when_something_else_was_written_meanwhile(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stuck(site, closed=False)
    log, append = site.services.log, site.services.log.append
    seen = resumable(log, run)

    def closed_first(stream: str, events: Any, **how: Any) -> Any:
        monkeypatch.undo()
        site.close(run)
        with pytest.raises(ConcurrencyError):
            append(stream, events, **how)
        raise ConcurrencyError("somebody was first")

    monkeypatch.setattr(log, "append", closed_first)
    resumed(site, run, seen=seen)
    assert resumable(log, run).order is not None


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("first", [restart, resumed])
def test_what_airflow_never_took_can_be_ordered_again_and_comes_to_its_end(
    site: Site, first: Callable[..., None], tells: bool
) -> None:
    run = stuck(site, source=FINAL)
    first(site, run)
    airflow = FakeAirflow("failed" if tells else None)
    airflow.refuses = True
    found(site, airflow)
    if tells:
        found(site, airflow, later=timedelta(days=2))
    assert list(site.services.log.read(run))[-1].data["reconciled"], "given up"
    restart(site, run)
    with pytest.raises(UnderWay):
        restart(site, run)
    performed_whole(site, run)
    restart(site, run)


def test_a_word_is_about_what_its_giver_has_seen(site: Site) -> None:
    run = stuck(site)
    seen = resumable(site.services.log, run)
    resumed(site, run)
    assert site.do(begun_again(site, run)) == 1
    site.unwind(run, epoch=1)
    site.close(run, epoch=1)
    with pytest.raises(PermanentError, match="is stuck anew"):
        resumed(site, run, seen=seen, by_hand=True)
    assert site.state(run).step("one").status != "undone"


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False), (True, True), (False, False)])
def test_an_order_that_came_to_nothing_is_carried_out_by_who_says_the_same(
    site: Site, first: bool, second: bool
) -> None:
    run = stuck(site)
    resumed(site, run, by_hand=first)
    with pytest.raises(AlreadyResumed) as told:
        resumed(site, run, by_hand=second)
    assert ("was not written" in told.value.message) is (first is not second)
    now = datetime.now(UTC)
    assert not told.value.may_be_carried_out(by_hand=second, now=now)
    later = now + FORGOTTEN + timedelta(seconds=1)
    assert told.value.may_be_carried_out(by_hand=second, now=later) is (first is second)
    assert (site.state(run).step("one").status == "undone") is first


def test_what_is_under_way_is_told_in_words(site: Site) -> None:
    run = stuck(site)
    site.do(begun_again(site, run))
    with pytest.raises(UnderWay, match="tasks of it were cleared in Airflow"):
        restart(site, run)
