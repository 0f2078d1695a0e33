"""Promises of steps whose agent or host is left alone: the next one does the work, or the step waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from muster.errors import TransientError
from muster.recovery.breakers import Breakers, Policy
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "breakers")
AGENTS = """
department: office
agents:
  - {id: expert, role: You sort., skills: [sorting], offline: shop.guess, tiers: [big]}
  - {id: generalist, role: You do all., skills: [sorting, filing], offline: shop.guess, tiers: []}
"""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("shop", SKILLS)
    made.agents(AGENTS)
    return made


def test_while_a_breaker_is_open_the_fallback_comes_at_once(site: Site) -> None:
    definition = site.definition(
        """
automation: tested
settings: {breakers: {failures: 1}}
steps:
  - id: first
    skill: shop.fetch
    fallback: {skill: shop.guess}
  - id: second
    skill: shop.fetch
    retry: {times: 9, delay: 60s}
    fallback: {skill: shop.guess}
"""
    )
    run = site.run(definition)
    state = site.state(run)
    assert (state.step("first").output, state.step("second").output) == ("guessed", "guessed")
    import sys

    assert len(sys.modules["muster_site.shop"].asked) == 1


def test_where_it_says_wait_the_step_is_retried_and_the_fallback_comes_last(site: Site) -> None:
    definition = site.definition(
        """
automation: tested
settings: {breakers: {failures: 1, open_seconds: 3, when_open: wait}}
steps:
  - {id: first, skill: shop.fetch, retry: {times: 2, delay: 0s}, fallback: {skill: shop.guess}}
"""
    )
    run = site.run(definition)
    retried = [event for event in site.services.log.read(run) if event.type == "step.retried"]
    assert [event.data["error"]["class"] for event in retried] == ["TransientError", "BreakerOpen"]
    assert site.state(run).step("first").output == "guessed"


def test_while_the_breaker_of_an_agent_is_open_the_next_one_that_fits_does_the_work(site: Site) -> None:
    definition = site.definition(
        """
automation: tested
steps:
  - {id: sort, needs: {skills: [sorting]}, ask: Sort it.}
"""
    )
    step = definition.step("sort")
    assert (step.agent, step.others) == ("expert", ("generalist",))
    assert set(definition.agents) == {"expert", "generalist"}

    class Connected:
        async def model(self, tier: str) -> object:
            return object()  # which cannot be asked anything

    object.__setattr__(site.services, "models", Connected())
    policy, breakers = Policy(failures=1), Breakers(site.services.database)
    breakers.report(breakers.admit("agent:expert", policy), policy, TransientError("down"))
    run = site.run(definition)
    assert site.state(run).step("sort").output == "guessed"
