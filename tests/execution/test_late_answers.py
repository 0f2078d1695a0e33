"""Promises of answers that come when much has changed: they count by the log alone, and never in a run that ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from muster.database import Database
from muster.events.model import EventType
from muster.execution import human
from muster.execution.decisions import Decision, Reply, take_reply
from muster.execution.performing import begin
from muster.execution.personal import RunLog
from muster.execution.piece import Piece
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.operations.cancelling import request_cancel
from support.runs import MASTER, Site

AUTOMATION = """
automation: tested
steps:
  - {id: total, skill: shop.total}
  - {id: ask, human: {ask: "Pay {{ steps.total.amount }}?", assignees: [finance-lead]}}
"""
SKILLS = '''
from decimal import Decimal
from pydantic import BaseModel
from muster.skills import skill
class Sum(BaseModel):
    amount: Decimal
@skill("shop.total")
def total() -> Sum:
    """What is to be paid."""
    return Sum(amount=Decimal("3"))
'''
EDITS = {
    "the skill was renamed": SKILLS.replace("shop.total", "shop.sum"),
    "it needs a package that is not there": "import not_there\n" + SKILLS,
    "it gives another shape": SKILLS.replace("amount: Decimal", "value: int").replace('amount=Decimal("3")', "value=3"),
}


@pytest.fixture
def asked(tmp_path: Path, database: Database) -> tuple[Site, str]:
    """A run that has put its question."""
    site = Site(tmp_path / "site", database)
    site.skills("shop", SKILLS)
    run = site.open(site.definition(AUTOMATION))
    site.step(run, "total")
    piece = site.do(begin(site.services, WorkRef(run=run, step="ask")))
    assert isinstance(piece, Piece)
    site.do(human.request(site.services, piece))
    return site, run


def approve(site: Site, services: Services, run: str) -> Decision:
    reply = Reply(approved=True, by="finance-lead", at=datetime.now(UTC))
    decision: Decision = site.do(take_reply(services, WorkRef(run=run, step="ask"), reply))
    return decision


@pytest.mark.parametrize("edit", EDITS)
def test_an_answer_counts_whatever_the_skill_file_has_become(
    asked: tuple[Site, str], tmp_path: Path, database: Database, edit: str
) -> None:
    site, run = asked
    new = Site(tmp_path / "edited", database)
    new.skills("shop", EDITS[edit])
    server = replace(site.services, site=new.services.site, log=RunLog(database, lambda: MASTER))
    assert approve(site, server, run).status == "settled"


@pytest.mark.parametrize("closed", [False, True], ids=["cancelled", "cancelled and closed"])
def test_no_answer_counts_once_the_run_was_cancelled(asked: tuple[Site, str], closed: bool) -> None:
    site, run = asked
    request_cancel(site.services.log, run, by="ann")
    if closed:
        site.close(run, {"ask": "failed"})
    decision = approve(site, site.services, run)
    assert (decision.status, decision.message) == ("closed", "It is not asked any more: the run was cancelled.")
    assert EventType.APPROVAL_ANSWERED not in [event.type for event in site.services.log.read(run)]


def test_no_answer_counts_once_the_run_has_ended(asked: tuple[Site, str]) -> None:
    site, run = asked
    site.close(run, {"ask": "failed"})
    decision = approve(site, site.services, run)
    assert (decision.status, decision.message) == ("closed", "It is not asked any more: the run has ended.")
    assert EventType.APPROVAL_ANSWERED not in [event.type for event in site.services.log.read(run)]
