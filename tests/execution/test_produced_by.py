"""Beside an outcome stands who made it, and `rules` only where a skill answered in the place of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from support.runs import Site

SKILLS = '''
from muster.errors import PermanentError
from muster.skills import skill

@skill("shop.guess")
def guess() -> str:
    """An answer by rules."""
    return "likely"

@skill("shop.refuse")
def refuse() -> str:
    """Fails for good."""
    raise PermanentError("never")
'''
AGENTS = """
department: shop
agents:
  - {id: clerk, role: You sort., skills: [sorting], offline: shop.guess, tiers: [big]}
  - {id: lost, role: You sort., skills: [losing], offline: shop.refuse, tiers: [big]}
"""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    site = Site(tmp_path, database)
    site.skills("shop", SKILLS)
    site.agents(AGENTS)
    return site


@pytest.mark.parametrize(
    ("step", "by"),
    [
        ("skill: shop.guess", "code"),
        ("each: [a], skill: shop.guess", "code"),
        ("skill: shop.refuse, fallback: {skill: shop.guess}", "code"),
        ("branch: [{to: [last]}]", "code"),
        ("notify: [{slack: '#ops', text: Hello.}]", "notice"),
        ("agent: clerk, ask: Sort it.", "rules"),
        ("agent: lost, ask: Sort it., fallback: {skill: shop.guess}", "rules"),
    ],
)
def test_it_says_who_made_the_outcome(site: Site, step: str, by: str) -> None:
    last = "{id: last, after: [one], skill: shop.guess}"
    definition = site.definition(f"automation: tested\nsteps:\n  - {{id: one, {step}}}\n  - {last}\n")
    found = site.state(site.run(definition)).step("one")
    assert [work.produced_by for work in found.works if work.status == "succeeded" and work.produced_by] == [by]


def test_a_persons_answer_names_the_person(site: Site) -> None:
    run = site.open(site.definition("automation: tested\nsteps: [{id: one, human: {ask: Pay?, assignees: [lead]}}]\n"))
    site.approve(run, "one", by="lead")
    assert site.state(run).step("one").whole.produced_by == "person:lead"
