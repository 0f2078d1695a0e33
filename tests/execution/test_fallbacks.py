"""A fallback never does a second time what may have happened; a server counts what was done."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.model import Event, EventType, NewEvent
from muster.execution import overtaken
from muster.execution.performing import perform
from muster.execution.personal import RunLog
from muster.execution.references import WorkRef
from muster.recovery.ledger import Ledger
from support.bank import BankServer
from support.runs import MASTER, Site, perform_in_process
from support.sources import source_of

SKILLS = source_of(__file__, "fallbacks")
SHAPES = {
    "single": "",
    "mapped": "each: [a, b], ",
    "packed": "each: [a, b], pack: 2, ",
    "whole": "each: [a, b], pack: all, ",
}
EACH = [(f"pay.{a}transfer", f"pay.{a}card", lane) for a in ("", "a") for lane in ("async", "worker")]


@pytest.fixture
def site(tmp_path: Path, database: Database, bank: BankServer) -> Site:
    site = Site(tmp_path, database)
    site.skills("pay", SKILLS.replace("BANK", bank.url).replace("PLACE", str(tmp_path)))
    return site


def paying(shape: str, skill: str, fallback: str, more: str = "") -> str:
    given = "with: {to: '{{ item }}'}" if SHAPES[shape] else "with: {to: a}"
    fallback = f"fallback: {{skill: {fallback}, {given}}}"
    step = f"id: pay, {SHAPES[shape]}skill: {skill}, {given}, {more}, {fallback}"
    return f"automation: paying\nsteps:\n  - {{{step}}}\n"


def counted(shape: str) -> dict[str, int]:
    return {"a": 1, "b": 1} if SHAPES[shape] else {"a": 1}


def effects(site: Site) -> set[tuple[str, str]]:
    entries = Ledger(site.services.database).entries()
    return {(entry.key.rpartition("/")[2], entry.status) for entry in entries}


def errors(site: Site, run: str, kind: EventType) -> list[dict[str, Any]]:
    return [event.data["error"] for event in site.services.log.read(run) if event.type == kind]


@pytest.mark.parametrize("times", [0, 1], ids=["at once", "after a retry"])
@pytest.mark.parametrize(("skill", "fallback", "lane"), EACH)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_fallback_begins_where_something_may_have_happened(
    site: Site, bank: BankServer, shape: str, skill: str, fallback: str, lane: str, times: int
) -> None:
    more = f"retry: {{times: {times}, delay: 0s}}, lane: {lane}"
    run = site.run(site.definition(paying(shape, skill, fallback, more)))
    assert bank.charges == counted(shape)
    assert effects(site) == {("transfer", "unknown")}
    assert site.state(run).status == "failed"
    found = errors(site, run, EventType.STEP_FAILED)
    assert {error["class"] for error in found} == {"OutcomeUnknown"}
    assert all("muster effects settle" in error["remedy"] for error in found)
    assert not errors(site, run, EventType.STEP_FELL_BACK)


@pytest.mark.parametrize(("skill", "fallback", "lane"), EACH)
@pytest.mark.parametrize("shape", SHAPES)
def test_no_fallback_does_again_what_has_happened(
    site: Site, bank: BankServer, shape: str, skill: str, fallback: str, lane: str
) -> None:
    skill = skill.replace("transfer", "confused")
    run = site.run(site.definition(paying(shape, skill, fallback, f"lane: {lane}")))
    assert bank.charges == counted(shape)
    assert effects(site) == {("transfer", "done")}
    found = errors(site, run, EventType.STEP_FAILED)
    assert len(found) == len(bank.charges)
    assert all("The receipt cannot be read." in error["message"] for error in found)
    assert all("has happened, so the fallback of pay" in error["message"] for error in found)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_that_is_done_again_is_not_done_beside_what_its_fallback_did(
    site: Site, bank: BankServer, tmp_path: Path, shape: str
) -> None:
    run = site.run(site.definition(paying(shape, "pay.refuse", "pay.card", "lane: worker")))
    assert bank.charges == counted(shape)
    (tmp_path / "mended").touch()
    for epoch in (90, 91):
        slots = range(site.expand(run, "pay", epoch=epoch)) if SHAPES[shape] and shape != "whole" else [None]
        for slot in slots:
            site.step(run, "pay", slot, epoch=epoch)
        assert site.state(run).step("pay").status == "succeeded"
        assert bank.charges == counted(shape)
    assert effects(site) == {("transfer", "failed"), ("card", "done")}


class Dead(BaseException):
    """The process is gone. No `except Exception` notices."""


class MortalLog(RunLog):
    """The log as a process sees it that dies right after it has written one type of event, or in place of it."""

    def __init__(self, site: Site, *, after: EventType | None = None, before: EventType | None = None) -> None:
        super().__init__(site.services.database, lambda: MASTER)
        self.after, self.before = after, before

    async def aappend(self, stream: str, events: Sequence[NewEvent], **more: Any) -> list[Event]:
        types = {event.type for event in events}
        if self.before in types:
            raise Dead
        stored = await super().aappend(stream, events, **more)
        # What was there under its key before was written by another.
        if any(event.type == self.after and event.data == new.data for new, event in zip(events, stored, strict=True)):
            raise Dead
        return stored


def pay(site: Site, run: str, epoch: int, **dies: EventType) -> None:
    """Perform the step; each of its tasks dies where it is said."""
    services = replace(site.services, log=MortalLog(site, **dies)) if dies else site.services
    for task in site.tasks(run, "pay", epoch=epoch):
        with pytest.raises(Dead) if dies else nullcontext():
            site.do(perform(services, task))


@pytest.mark.parametrize("lane", ["async", "worker"])
@pytest.mark.parametrize("shape", SHAPES)
def test_nor_when_a_process_died_in_between_as_it_began(
    site: Site, bank: BankServer, tmp_path: Path, shape: str, lane: str
) -> None:
    skill, fallback = ("pay.refuse", "pay.card") if lane == "worker" else ("pay.arefuse", "pay.acard")
    run = site.run(site.definition(paying(shape, skill, fallback, f"lane: {lane}")))
    assert bank.charges == counted(shape)
    (tmp_path / "mended").touch()
    for epoch in (1, 2):
        pay(site, run, epoch, after=EventType.STEP_STARTED)
    pay(site, run, 3)
    assert site.state(run).step("pay").status == "succeeded"
    assert bank.charges == counted(shape)
    assert effects(site) == {("transfer", "failed"), ("card", "done")}


@pytest.mark.parametrize("dies", [{}, {"before": EventType.STEP_SUCCEEDED}], ids=["ended", "died"])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_step_has_done_itself_since_is_not_left_to_the_fallback_of_before(
    site: Site, bank: BankServer, tmp_path: Path, shape: str, dies: dict[str, EventType]
) -> None:
    """Its fallback failed and had done nothing; then the step did it, and is done again once more."""
    run = site.run(site.definition(paying(shape, "pay.refuse", "pay.decline", "lane: worker")))
    assert (bank.charges, len(errors(site, run, EventType.STEP_FELL_BACK))) == ({}, len(counted(shape)))
    (tmp_path / "mended").touch()
    pay(site, run, 1, **dies)
    (tmp_path / "accepted").touch()
    pay(site, run, 2)
    assert site.state(run).step("pay").status == "succeeded"
    assert bank.charges == counted(shape)
    assert effects(site) == {("transfer", "done"), ("card", "failed")}


def test_nor_what_another_process_has_done_as_the_step_a_moment_ago(
    site: Site, bank: BankServer, tmp_path: Path, dsn: str
) -> None:
    """Both find that the fallback had failed; the second looks at the ledger when the first has done it."""
    run = site.run(site.definition(paying("mapped", "pay.refuse", "pay.decline", "lane: worker")))
    for name in ("mended", "accepted"):
        (tmp_path / name).touch()
    assert site.expand(run, "pay", epoch=1) == 2

    class Late(RunLog):
        """The log of a process that another one overtakes between what it has read and what it writes."""

        overtaken = False

        async def aunder_keys(self, stream: str, keys: Sequence[str]) -> dict[str, Event]:
            found = await super().aunder_keys(stream, keys)
            if not self.overtaken and "pay[0]/ended@1" in keys:
                self.overtaken = True
                place = (site.include, dsn, site.services.artifacts, run, "pay", 0, 1)
                other = multiprocessing.get_context("spawn").Process(target=perform_in_process, args=place)
                other.start()
                await asyncio.to_thread(other.join, 60)
                assert other.exitcode == 0
            return found

    late = replace(site.services, log=Late(site.services.database, lambda: MASTER))
    site.do(perform(late, WorkRef(run=run, step="pay", slot=0, epoch=1)))
    assert late.log.overtaken
    assert bank.charges == {"a": 1}
    assert effects(site) == {("transfer", "done"), ("transfer", "failed"), ("card", "failed")}


def test_a_step_is_tried_itself_again_when_its_fallback_did_nothing(
    site: Site, bank: BankServer, tmp_path: Path
) -> None:
    run = site.open(site.definition(paying("single", "pay.refuse", "pay.refuse", "lane: worker")))
    assert site.step(run, "pay").status == "failed"
    (tmp_path / "mended").touch()
    assert site.step(run, "pay", epoch=1).status == "succeeded"
    assert len(errors(site, run, EventType.STEP_FELL_BACK)) == 1
    assert bank.charges == {"a": 1}


def test_an_error_about_something_else_does_not_hide_what_may_have_happened(site: Site, bank: BankServer) -> None:
    run = site.run(site.definition(paying("single", "pay.bluntly", "pay.card", "lane: worker")))
    assert bank.charges == {"a": 1}
    [error] = errors(site, run, EventType.STEP_FAILED)
    assert "There was no money left." in error["message"]
    assert "the fallback of pay was not tried" in error["message"]


@pytest.mark.parametrize(("skill", "fallback", "lane"), EACH)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_log_says_why_a_fallback_came(
    site: Site, bank: BankServer, shape: str, skill: str, fallback: str, lane: str
) -> None:
    skill = skill.replace("transfer", "refuse")
    run = site.run(site.definition(paying(shape, skill, fallback, f"lane: {lane}")))
    assert site.state(run).status == "succeeded"
    assert bank.charges == counted(shape)
    assert effects(site) == {("transfer", "failed"), ("card", "done")}
    why = errors(site, run, EventType.STEP_FELL_BACK)
    assert [error["message"] for error in why] == ["The account is closed."] * len(bank.charges)


def test_what_a_person_has_said_to_have_happened_is_not_done_again(site: Site, bank: BankServer) -> None:
    run = site.open(site.definition(paying("single", "pay.transfer", "pay.card", "lane: worker")))
    assert site.step(run, "pay").status == "failed"
    [entry] = Ledger(site.services.database).entries()
    Ledger(site.services.database).decide(entry.key, happened=True, result=None)
    assert site.step(run, "pay", epoch=1).status == "succeeded"
    assert bank.charges == {"a": 1}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_fallback_whose_process_died_is_gone_on_with(site: Site, bank: BankServer, dsn: str, shape: str) -> None:
    run = site.open(site.definition(paying(shape, "pay.refuse", "pay.die", "lane: worker")))
    slot = None if shape in ("single", "whole") else 0
    if SHAPES[shape]:
        site.expand(run, "pay")
    context = multiprocessing.get_context("fork")
    place = (site.include, dsn, site.services.artifacts, run, "pay", slot)
    process = context.Process(target=perform_in_process, args=place)
    process.start()
    process.join(60)
    assert process.exitcode == 9
    with site.services.database.connection() as connection:
        connection.execute("UPDATE effects SET claimed_until = clock_timestamp() WHERE claimed_until IS NOT NULL")
    # By now the step itself would come through: it would be done beside what its fallback did.
    assert errors(site, run, EventType.STEP_FELL_BACK)
    site.step(run, "pay", slot)
    assert set(bank.charges.values()) == {1}


class OvertakenLog(RunLog):
    """The log of a process that another one overtakes right before it writes that its fallback takes over."""

    def __init__(self, site: Site, other: Callable[[], object]) -> None:
        super().__init__(site.services.database, lambda: MASTER)
        self.other, self.overtaken = other, False

    async def aappend(self, stream: str, events: Sequence[NewEvent], **more: Any) -> list[Event]:
        if not self.overtaken and EventType.STEP_FELL_BACK in {event.type for event in events}:
            self.overtaken = True
            await asyncio.to_thread(self.other)
        return await super().aappend(stream, events, **more)


def overtake(site: Site, run: str, other: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Perform the first task of the step in a process that `other` overtakes as it hands over to the fallback."""
    monkeypatch.setattr(overtaken, "LONGEST_WAIT", 0.0)
    log = OvertakenLog(site, other)
    with pytest.raises(overtaken.Overtaken):
        site.do(perform(replace(site.services, log=log), site.tasks(run, "pay", epoch=0)[0]))
    assert log.overtaken
    assert errors(site, run, EventType.STEP_FELL_BACK), "it had looked for another process before that one began"


@pytest.mark.parametrize("shape", SHAPES)
def test_what_another_process_has_done_meanwhile_is_not_left_to_a_fallback(
    site: Site, bank: BankServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    """Nor by who comes after both, and finds in the log that the first one had handed over."""
    run = site.open(site.definition(paying(shape, "pay.refuse", "pay.card", "lane: worker")))

    def other() -> None:
        (tmp_path / "mended").touch()
        pay(site, run, 0, before=EventType.STEP_SUCCEEDED)

    overtake(site, run, other, monkeypatch)
    pay(site, run, 0)
    assert site.state(run).step("pay").status == "succeeded"
    assert bank.charges == counted(shape)
    # The other item of a pack may have been handed over before the other process began.
    assert ("transfer", "done") in effects(site)


@pytest.mark.parametrize("shape", SHAPES)
def test_who_comes_after_one_that_was_overtaken_can_leave_it_to_the_fallback(
    site: Site, bank: BankServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    run = site.open(site.definition(paying(shape, "pay.refuse", "pay.card", "lane: worker")))
    overtake(site, run, lambda: pay(site, run, 0, after=EventType.STEP_STARTED), monkeypatch)
    pay(site, run, 0, after=EventType.STEP_FELL_BACK)
    (tmp_path / "mended").touch()
    pay(site, run, 0)
    assert site.state(run).step("pay").status == "succeeded"
    assert bank.charges == counted(shape)
    assert effects(site) == {("transfer", "failed"), ("card", "done")}
