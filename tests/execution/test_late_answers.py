"""Promises of answers that come when much has changed: they count by the log alone, and never in a run that ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from muster.approvals import asking
from muster.approvals.decisions import Decision, Reply, take_reply
from muster.bounded_cache import BoundedCache
from muster.database import Database
from muster.errors import PermanentError
from muster.events.model import EventType
from muster.execution import fanout
from muster.execution.performing import begin
from muster.execution.personal import RunLog
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.operations.cancelling import request_cancel
from support.runs import MASTER, Site
from support.sources import source_of
from support.waiting import in_turn

HEAD = "automation: tested\nsteps:\n  - {id: total, skill: shop.total}\n"
AUTOMATIONS = {
    "one question": (
        None,
        '  - {id: ask, human: {ask: "Pay {{ steps.total.amount }}?", assignees: [finance-lead], within: 24h}}',
    ),
    "an item's": (
        0,
        """  - id: ask
    each: "{{ [steps.total] }}"
    human: {ask: "Pay {{ item.amount }}?", assignees: [finance-lead], within: 24h}
""",
    ),
}
SKILLS = source_of(__file__, "late_answers")
EDITS = {
    "the skill was renamed": SKILLS.replace("shop.total", "shop.sum"),
    "it needs a package that is not there": "import not_there\n" + SKILLS,
    "it gives another shape": SKILLS.replace("amount: Decimal", "value: int").replace("amount=Decimal(3)", "value=3"),
}


@pytest.fixture(params=AUTOMATIONS)
def asked(tmp_path: Path, database: Database, request: pytest.FixtureRequest) -> tuple[Site, WorkRef]:
    """A run that has put its question, alone or as an item of a fan-out."""
    slot, step = AUTOMATIONS[request.param]
    site = Site(tmp_path / "site", database)
    site.skills("shop", SKILLS)
    run = site.open(site.definition(HEAD + step))
    site.step(run, "total")
    if slot is not None:
        site.expand(run, "ask")
    ref = WorkRef(run=run, step="ask", slot=slot)
    work_item = site.do(begin(site.services, ref))
    assert isinstance(work_item, WorkItem)
    site.do(asking.request(site.services, work_item))
    return site, ref


def approve(services: Services, ref: WorkRef) -> Decision:
    reply = Reply(approved=True, by="finance-lead", at=datetime.now(UTC))
    return services.database.run(take_reply(services, ref, reply))


def types(site: Site, run: str) -> list[str]:
    return [event.type for event in site.services.log.read(run)]


def elsewhere(site: Site) -> Site:
    """The same in another process, as far as the log can tell."""
    return Site.of(site.include, Database(site.services.database.dsn), site.services.artifacts)


@pytest.mark.parametrize("edit", EDITS)
def test_an_answer_counts_whatever_the_skill_file_has_become(
    asked: tuple[Site, WorkRef], tmp_path: Path, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, ref = asked
    new = Site(tmp_path / "edited", Database(site.services.database.dsn))
    new.skills("shop", EDITS[edit])
    # Another process: nothing is known there of what was laid out here.
    monkeypatch.setattr(fanout, "_fan_outs", BoundedCache(8))
    assert approve(replace(new.services, log=RunLog(new.services.database, lambda: MASTER)), ref).status == "settled"


@pytest.mark.parametrize("closed", [False, True], ids=["cancelled", "cancelled and closed"])
def test_no_answer_counts_once_the_run_was_cancelled(asked: tuple[Site, WorkRef], closed: bool) -> None:
    site, ref = asked
    request_cancel(site.services.log, ref.run, by="ann")
    if closed:
        site.close(ref.run, {"ask": "failed"})
    decision = approve(site.services, ref)
    assert (decision.status, decision.message) == ("closed", "It is not asked any more: the run was cancelled.")
    assert EventType.APPROVAL_ANSWERED not in types(site, ref.run)


def test_no_answer_counts_once_the_run_has_ended(asked: tuple[Site, WorkRef]) -> None:
    site, ref = asked
    site.close(ref.run, {"ask": "failed"})
    decision = approve(site.services, ref)
    assert (decision.status, decision.message) == ("closed", "It is not asked any more: the run has ended.")
    assert EventType.APPROVAL_ANSWERED not in types(site, ref.run)


def test_no_answer_counts_once_the_question_could_not_be_put(asked: tuple[Site, WorkRef]) -> None:
    """The reason is a sentence of its own, and what repeats it ends with one period."""
    site, ref = asked
    work_item = site.do(begin(site.services, ref))
    assert isinstance(work_item, WorkItem)
    site.services.log.append(ref.run, [work_item.failed(PermanentError("Nobody may answer."))])
    decision = approve(site.services, ref)
    assert (decision.status, decision.message) == ("closed", "It is not asked any more: Nobody may answer.")


ENDINGS: dict[str, Callable[[Site, str], Any]] = {
    "closed": lambda site, run: site.close(run, {"ask": "failed"}),
    "cancelled": lambda site, run: request_cancel(site.services.log, run, by="ann"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_answer_that_comes_as_its_run_ends_is_not_in_the_log_when_the_person_is_told_so(
    asked: tuple[Site, WorkRef], ending: str
) -> None:
    """Both have read the run as open; whoever ends it writes first."""
    site, ref = asked
    closing, answering = elsewhere(site), elsewhere(site)
    _, decision = in_turn(
        site.services.database.dsn,
        ref.run,
        lambda: ENDINGS[ending](closing, ref.run),
        lambda: approve(answering.services, ref),
    )
    assert decision.status == "closed"
    assert EventType.APPROVAL_ANSWERED not in types(site, ref.run)
    assert EventType.STEP_SUCCEEDED not in types(site, ref.run)[types(site, ref.run).index("approval.requested") :]


def test_an_answer_that_comes_as_its_run_ends_counts_when_it_is_first(asked: tuple[Site, WorkRef]) -> None:
    """Both have read the run as open; whoever answers writes first."""
    site, ref = asked
    closing, answering = elsewhere(site), elsewhere(site)
    decision, _ = in_turn(
        site.services.database.dsn,
        ref.run,
        lambda: approve(answering.services, ref),
        lambda: closing.close(ref.run, {"ask": "failed"}),
    )
    assert decision.status == "settled"
    found = types(site, ref.run)
    assert found.index("approval.answered") < found.index("run.closed")
    assert EventType.STEP_STOPPED not in found, "the run is closed by what it was when it was closed"
    assert site.state(ref.run).step("ask").status == "succeeded"


def silence(site: Site, ref: WorkRef) -> Callable[[], Any]:
    """What a task does that was thought dead: it has begun to look in time, and looks when time is up."""
    late = replace(site.services, clock=lambda: datetime.now(UTC) + timedelta(days=2))
    return lambda: late.database.run(asking.look(late, ref))


def test_a_silence_that_is_found_after_the_run_has_ended_writes_nothing(asked: tuple[Site, WorkRef]) -> None:
    site, ref = asked
    looking = silence(site, ref)
    site.close(ref.run, {"ask": "failed"})
    before = types(site, ref.run)
    found = looking()
    assert types(site, ref.run) == before
    assert (found.status, found.reason) == ("failed", "It is not asked any more: the run has ended.")


def test_a_silence_that_is_found_as_its_run_ends_is_not_in_the_log(asked: tuple[Site, WorkRef]) -> None:
    """Both have read the run as open; whoever ends it writes first."""
    site, ref = asked
    closing = elsewhere(site)
    _, found = in_turn(
        site.services.database.dsn,
        ref.run,
        lambda: closing.close(ref.run, {"ask": "failed"}),
        silence(elsewhere(site), ref),
    )
    assert found.status == "failed"
    assert types(site, ref.run)[-1] == EventType.RUN_CLOSED
    assert EventType.APPROVAL_ANSWERED not in types(site, ref.run)


def test_a_silence_that_is_found_as_its_run_ends_counts_when_it_is_first(asked: tuple[Site, WorkRef]) -> None:
    site, ref = asked
    closing = elsewhere(site)
    found, _ = in_turn(
        site.services.database.dsn,
        ref.run,
        silence(elsewhere(site), ref),
        lambda: closing.close(ref.run, {"ask": "failed"}),
    )
    assert (found["how"], found["approved"]) == ("timeout", False)
    assert types(site, ref.run)[-1] == EventType.RUN_CLOSED
    assert site.state(ref.run).step("ask").status == "succeeded"


def test_of_two_who_answer_at_once_each_is_told_what_the_log_says(asked: tuple[Site, WorkRef]) -> None:
    site, ref = asked
    places = [elsewhere(site) for _ in range(2)]
    yes, no = (Reply(approved=said, by="finance-lead", at=datetime.now(UTC)) for said in (True, False))
    first, second = in_turn(
        site.services.database.dsn,
        ref.run,
        lambda: places[0].do(take_reply(places[0].services, ref, yes)),
        lambda: places[1].do(take_reply(places[1].services, ref, no)),
    )
    assert (first.status, second.status) == ("settled", "closed")
    assert second.message == "It was approved already, by finance-lead."
