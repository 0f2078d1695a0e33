"""Promises of undoing what was done under locks: it is undone under the same ones, and waits for them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from muster.database import Database
from muster.recovery.leases import Leases
from support.runs import Site

SKILLS = '''
from muster.errors import PermanentError
from muster.recovery.leases import Leases
from muster.skills import SkillContext, skill

@skill("till.take", lane="async")
async def take(context: SkillContext) -> list[str]:
    """Takes from a till, and says who holds what meanwhile."""
    return held(context)

@skill("till.put_back", lane="async")
async def put_back(context: SkillContext) -> list[str]:
    """Puts it back, and says who holds what meanwhile."""
    return held(context)

@skill("till.fail", lane="async")
async def fail() -> None:
    """Fails."""
    raise PermanentError("broken")

def held(context):
    return [f"{it.name} by {it.owner}" for it in Leases(context.database).held()]
'''
AUTOMATION = """automation: paying
inputs: {till: {type: string}}
steps:
  - {id: take, skill: till.take, lock: ["till:{{ inputs.till }}"], compensate: {skill: till.put_back}}
  - {id: each, each: [a, b], pack: all, skill: till.take, lock: ["drawer:{{ item }}"],
     compensate: {skill: till.put_back}}
  - {id: fail, skill: till.fail}
"""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("till", SKILLS)
    return made


def failed(site: Site) -> str:
    run = site.open(site.definition(AUTOMATION), till="7")
    for step in ("take", "each", "fail"):
        site.step(run, step)
    return run


def test_what_was_done_under_a_lock_is_undone_under_the_same_one(site: Site) -> None:
    run = failed(site)
    assert site.unwind(run) == "succeeded"
    state = site.state(run)
    take = state.step("take").whole
    assert [held for held in take.output if not held.startswith("sha256:")] == [f"till:7 by {run}/take"]
    assert take.undoing is not None
    assert take.undoing.output == take.output
    for index, name in enumerate("ab"):
        item = state.step("each").work(index)
        assert item.undoing is not None
        assert f"drawer:{name} by {run}/each[{index}]" in item.undoing.output
    assert Leases(site.services.database).held() == [], "and nothing is held afterwards"


def test_undoing_waits_for_whoever_holds_its_lock(site: Site, database: Database) -> None:
    run = failed(site)
    Leases(database).acquire(["till:7"], "somebody else", ttl=2.0)
    began = time.monotonic()
    assert site.unwind(run) == "succeeded"
    assert time.monotonic() - began > 1.5
