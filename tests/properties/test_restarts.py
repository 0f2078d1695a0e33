"""Runs that are done again with another list: nothing goes on with what was before, and the end says what happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.database import Database
from support.restart_machine import FIRST, LATER, SHAPES, STEPS, Again, Case, Player, Weather
from support.runs import Site

BROKEN, ASIDE = Weather(broken=("post.c",)), Weather(aside=("read.b",))
UNDONE = Weather(broken=("last.last",))


@pytest.fixture
def player(tmp_path: Path, database: Database) -> Player:
    return Player(Site(tmp_path, database), tmp_path)


@pytest.mark.parametrize("pack", ["1", "2", "all"])
@pytest.mark.parametrize(
    ("shape", "over", "first", "later"),
    [
        ("undone", "list", BROKEN, [Again("read", ASIDE)]),
        ("undone", "check", BROKEN, [Again("read", ASIDE)]),
        ("undone", "list", BROKEN, [Again("list", Weather(names="shorter"))]),
        ("undone", "check", UNDONE, [Again("list", Weather(names="shorter"))]),
        ("when", "check", UNDONE, [Again("list", Weather(names="shorter"))]),
        ("when", "check", BROKEN, [Again("list", Weather(names="shorter")), Again(0)]),
        ("plain", "check", BROKEN, [Again("check", Weather(broken=("check.a", "check.b", "check.c"))), Again(3)]),
        ("undone", "list", Weather(), [Again("list", Weather(names="shorter", broken=("last.last",)))]),
    ],
    ids=[
        "one is set aside now",
        "one is set aside now, and the list is what came through",
        "one that failed is gone",
        "one that was undone is gone",
        "what was undone is not to be done any more",
        "a dead letter is gone",
        "a dead letter is not to be done any more",
        "one that is gone is undone too",
    ],
)
def test_what_was_before_is_not_gone_on_with(
    player: Player, pack: str, shape: str, over: str, first: Weather, later: list[Again]
) -> None:
    assert player.play(Case(pack, shape, over, first, tuple(later))) == []  # type: ignore[arg-type]


BEGINS = st.sampled_from(["list", "list", "list", "read", "read", *STEPS[2:], 0, 1, 2])
"""Mostly where another list is laid out, or its items are worked on anew."""
CASES = st.builds(
    Case,
    pack=st.sampled_from(["1", "2", "all"]),
    shape=st.sampled_from(sorted(SHAPES)),
    over=st.sampled_from(["list", "check"]),
    first=st.sampled_from(FIRST),
    later=st.lists(st.builds(Again, BEGINS, st.sampled_from(LATER)), min_size=1, max_size=3).map(tuple),
)


@settings(max_examples=35, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CASES)
def test_a_run_that_is_done_again_says_what_happened(player: Player, case: Case) -> None:
    assert player.play(case) == []
