"""An approval that stands when its run is restarted, and one that is asked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.execution.human import answer, request
from muster.execution.kept_answers import keep_answer
from muster.execution.outcome import Outcome
from muster.execution.performing import begin
from muster.execution.piece import Piece
from muster.execution.references import WorkRef
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
        "@skill('kept_desk.read')\ndef read() -> str:\n    '''What the file says.'''\n    return TOTAL.read_text()\n",
    )
    (tmp_path / "total").write_text("30")
    return made


def opened(site: Site, choice: str) -> str:
    return site.open(site.definition(AUTOMATION.format(choice=choice)))


def ask(site: Site, run: str, epoch: int, slot: int | None = None) -> tuple[Piece, Outcome | None]:
    """Put the question as Airflow would; the outcome when nobody has to be asked."""

    async def asking() -> tuple[Piece, Outcome | None]:
        piece = await begin(site.services, WorkRef(run=run, step="approve", epoch=epoch, slot=slot))
        assert isinstance(piece, Piece)
        if (kept := await keep_answer(site.services, piece)) is None:
            await request(site.services, piece)
        return piece, kept

    found: tuple[Piece, Outcome | None] = site.do(asking())
    return found


def first_time(site: Site, run: str, **said: Any) -> None:
    assert site.step(run, "read").status == "succeeded"
    piece, kept = ask(site, run, 0)
    assert kept is None
    site.do(answer(site.services, piece, **{"approved": True, "by": "lead", **said}))
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
    piece, kept = ask(site, run, 1)
    assert kept is not None
    assert kept.status == "succeeded"
    assert kept.output == before == site.state(run).step("approve").output
    assert (before["by"], before["note"]) == ("lead", "as agreed")
    assert site.do(keep_answer(site.services, piece)) == kept, "a second process that comes to it finds the same"
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
    piece = site.do(begin(site.services, WorkRef(run=run, step="approve", epoch=1)))
    assert isinstance(piece, Piece)
    site.close(run, {"approve": "failed"}, epoch=1)
    before = [event.type for event in site.services.log.read(run)]
    kept = site.do(keep_answer(site.services, piece))
    assert [event.type for event in site.services.log.read(run)] == before
    assert kept is not None
    assert kept.reason == "It is not asked any more: the run has ended."
