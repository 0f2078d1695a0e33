"""An approval that stands when its run is restarted, and one that is asked again."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from muster.approvals.approval_reuse import keep_answer
from muster.approvals.asking import answer, request
from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.events.model import EventType, NewEvent
from muster.execution.outcome import Outcome
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.run_executions import begin_epoch
from muster.execution.work_item import WorkItem
from muster.operations.redoing import order, plan_restart
from support.runs import Site

AUTOMATION = """
automation: tested
inputs:
  amounts: {{type: array, items: {{type: integer}}, default: [10, 20]}}
steps:
  - {{id: read, skill: kept_desk.read}}
  - id: approve
    human: {{ask: "Pay?", details: "In all {{{{ steps.read }}}}", assignees: [lead, head]{choice}}}
  - {{id: convert, skill: kept_desk.read}}
  - {{id: pay, skill: kept_desk.read}}
"""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills(
        "kept_desk",
        "from pathlib import Path\n"
        "from muster.skills import skill\n\n"
        f"TOTAL = Path({str(tmp_path / 'total')!r})\n\n"
        "@skill('kept_desk.read')\ndef read() -> str:\n    '''What the file says.'''\n    return TOTAL.read_text()\n\n"
        "@skill('kept_desk.names')\ndef names() -> list[str]:\n    '''Its words.'''\n"
        "    return TOTAL.read_text().split()\n",
    )
    (tmp_path / "total").write_text("30")
    return made


def opened(site: Site, choice: str) -> str:
    return site.open(site.definition(AUTOMATION.format(choice=choice)))


def ask(site: Site, run: str, epoch: int, slot: int | None = None) -> tuple[WorkItem, Outcome | None]:
    """Put the question as Airflow would; the outcome when nobody has to be asked."""

    async def asking() -> tuple[WorkItem, Outcome | None]:
        work_item = await begin(site.services, WorkRef(run=run, step="approve", epoch=epoch, slot=slot))
        assert isinstance(work_item, WorkItem)
        if (kept := await keep_answer(site.services, work_item)) is None:
            await request(site.services, work_item)
        return work_item, kept

    found: tuple[WorkItem, Outcome | None] = site.do(asking())
    return found


def first_time(site: Site, run: str, **said: Any) -> None:
    assert site.step(run, "read").status == "succeeded"
    work_item, kept = ask(site, run, 0)
    assert kept is None
    site.do(answer(site.services, work_item, **{"approved": True, "by": "lead", **said}))
    for step in ("convert", "pay"):
        site.step(run, step)
    site.close(run)


def restarted(site: Site, run: str, step: str) -> tuple[str, ...]:
    plan = plan_restart(site.services.log, DefinitionStore(site.services.database), run, step, by="ops")
    order(site.services.log, plan)
    return plan.steps


def test_an_approval_is_asked_again_when_the_run_restarts_before_it(site: Site) -> None:
    run = opened(site, "")
    first_time(site, run)
    assert restarted(site, run, "read") == ("read", "approve", "convert", "pay")
    site.step(run, "read", epoch=1)
    assert ask(site, run, 1)[1] is None
    assert site.state(run).step("approve").whole.approval.approved is None, "it waits for an answer"


def test_an_approval_that_is_kept_stands_with_who_gave_it_and_when(site: Site) -> None:
    run = opened(site, ", on_restart: keep")
    first_time(site, run, note="as agreed")
    before = site.state(run).step("approve").output
    restarted(site, run, "read")
    site.step(run, "read", epoch=1)
    work_item, kept = ask(site, run, 1)
    assert kept is not None
    assert kept.status == "succeeded"
    assert kept.output == before == site.state(run).step("approve").output
    assert (before["by"], before["note"]) == ("lead", "as agreed")
    assert site.do(keep_answer(site.services, work_item)) == kept, "a second process that comes to it finds the same"
    assert [event.data.get("kept") for event in site.services.log.read(run, types=["approval.answered"])] == [
        None,
        True,
    ]
    assert site.state(run).step("approve").whole.approval.by == "lead"


def test_another_question_is_not_answered_by_an_approval_of_the_first(site: Site, tmp_path: Path) -> None:
    run = opened(site, ", on_restart: keep")
    first_time(site, run)
    restarted(site, run, "read")
    (tmp_path / "total").write_text("30000")
    site.step(run, "read", epoch=1)
    assert ask(site, run, 1)[1] is None


@pytest.mark.parametrize(
    "said", [{"approved": False}, {"approved": False, "by": None}, {"approved": True, "by": "requester"}]
)
def test_only_a_clear_approval_by_a_person_is_kept(site: Site, said: dict[str, Any]) -> None:
    run = opened(site, ", on_restart: keep")
    first_time(site, run, **said)
    restarted(site, run, "read")
    site.step(run, "read", epoch=1)
    assert ask(site, run, 1)[1] is None


def test_a_restart_after_an_approval_that_is_to_be_asked_again_begins_with_it(site: Site) -> None:
    run = opened(site, ", on_restart: ask")
    first_time(site, run)
    assert restarted(site, run, "pay") == ("approve", "convert", "pay")
    assert ask(site, run, 1)[1] is None


def test_a_restart_after_any_other_approval_leaves_it_alone(site: Site) -> None:
    for choice in ("", ", on_restart: keep"):
        run = opened(site, choice)
        first_time(site, run)
        assert restarted(site, run, "pay") == ("pay",)


def test_an_approval_is_not_kept_in_a_run_that_has_ended(site: Site) -> None:
    """By a task that was thought dead, and comes to it after the run was closed."""
    run = opened(site, ", on_restart: keep")
    first_time(site, run)
    restarted(site, run, "read")
    site.step(run, "read", epoch=1)
    work_item = site.do(begin(site.services, WorkRef(run=run, step="approve", epoch=1)))
    assert isinstance(work_item, WorkItem)
    site.close(run, {"approve": "failed"}, epoch=1)
    before = [event.type for event in site.services.log.read(run)]
    kept = site.do(keep_answer(site.services, work_item))
    assert [event.type for event in site.services.log.read(run)] == before
    assert kept is not None
    assert kept.reason == "It is not asked any more: the run has ended."


LISTED = """
automation: tested
steps:
  - {id: read, skill: kept_desk.names}
  - id: approve
    each: "{{ steps.read }}"
    human: {ask: "Pay?", details: "One of {{ steps.read | length }}", assignees: [lead], on_restart: keep}
  - {id: pay, skill: kept_desk.read}
"""


def asked_again(site: Site, run: str, epoch: int) -> list[bool]:
    """Ask about each of the list; whether somebody has to answer, and who does approves."""
    assert site.step(run, "read", epoch=epoch).status == "succeeded"
    asked = []
    for slot in range(site.expand(run, "approve", epoch=epoch)):
        work_item, kept = ask(site, run, epoch, slot)
        asked.append(kept is None)
        if kept is None:
            site.do(answer(site.services, work_item, approved=True, by="lead"))
    site.step(run, "pay", epoch=epoch)
    site.close(run, epoch=epoch)
    return asked


def test_the_approval_of_an_item_is_not_kept_for_another_one_that_is_asked_about_in_the_same_words(
    site: Site, tmp_path: Path
) -> None:
    run = site.open(site.definition(LISTED))
    (tmp_path / "total").write_text("a b c")
    assert asked_again(site, run, 0) == [True, True, True]
    (tmp_path / "total").write_text("x b a")
    restarted(site, run, "read")
    assert asked_again(site, run, 1) == [True, False, True]
    restarted(site, run, "read")
    assert asked_again(site, run, 2) == [False, False, False]


def test_an_approval_of_an_item_that_an_earlier_release_asked_for_is_asked_for_again(
    site: Site, tmp_path: Path
) -> None:
    """It did not write which item it asked about."""
    run = site.open(site.definition(LISTED))
    (tmp_path / "total").write_text("a b")
    earlier = {"subject": "Pay?", "details": sha256(b"One of 2").hexdigest(), "assignees": ["lead"], "levels": []}
    for index in (0, 1):
        data = {"step": "approve", "index": index, **earlier, "approvals": 1, "within": None, "otherwise": "reject"}
        data |= {"asked_at": datetime.now(UTC).isoformat(), "remind": [], "epoch": 0}
        key = f"approve[{index}]/requested@0"
        site.services.log.append(run, [NewEvent(type=EventType.APPROVAL_REQUESTED, data=data, key=key)])
    asked_again(site, run, 0)
    restarted(site, run, "read")
    assert asked_again(site, run, 1) == [True, True]
    restarted(site, run, "read")
    assert asked_again(site, run, 2) == [False, False]


def test_an_execution_that_is_ordered_again_after_it_was_given_up_has_not_ended(site: Site) -> None:
    """Airflow never took the first order, and the reconciler gave it up: the second has its number."""
    run = opened(site, ", on_restart: keep")
    first_time(site, run)
    restarted(site, run, "read")
    closed = {"status": "failed", "reason": "given up", "counts": {}, "epoch": 1, "reconciled": True}
    site.services.log.append(run, [NewEvent(type=EventType.RUN_CLOSED, data=closed)])
    restarted(site, run, "read")
    assert site.do(begin_epoch(site.services, run, "begun/x", "2026-11-22T00:00:00.000000Z")).number == 1
    site.step(run, "read", epoch=1)
    _, kept = ask(site, run, 1)
    assert kept is not None
    assert kept.status == "succeeded"
