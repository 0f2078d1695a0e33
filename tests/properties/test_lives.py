"""Lives of runs, made up at random: deaths, restarts, redrives, clearings by hand, other lists; judged from outside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from muster.database import Database
from support.life_airflow import WRITTEN, Death
from support.life_machine import LISTS, Clear, Discard, Life, Player, Redrive, Restart, Weather
from support.life_shapes import SHAPES, Form, Pack
from support.mutations import MUTATIONS
from support.runs import Site

MANY = int(os.environ.get("MUSTER_TEST_LIVES", "0"))
"""How many lives are played, others each time; without it few, and the same each time."""


PACKS: tuple[Pack, ...] = ("1", "2", "all")


class OneLoop(Site):
    """A site whose work is all done in one event loop, as in a triggerer."""

    runner: asyncio.Runner

    def do(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)


@pytest.fixture
def player(tmp_path: Path, database: Database) -> Iterator[Player]:
    site = OneLoop(tmp_path, database)
    with asyncio.Runner() as site.runner:
        yield Player(site, tmp_path)
        site.do(database.aclose())


OUT = Death("post", "layout")
KNOWN: dict[str, Life] = {
    "what a redrive did not come to": Life(
        Form("between"), Weather(broken=("check.b", "check.c")), (Redrive((1,), Weather(dies=OUT)), Redrive((0,)))
    ),
    "what a redrive of another list did not come to": Life(
        Form("others"), Weather(broken=("other.x", "check.c")), (Redrive((1,), Weather(dies=OUT)), Redrive((0,)))
    ),
    "what a restart did not come to": Life(
        Form("chain"), Weather(), (Restart("check", Weather(broken=("check.c",), dies=OUT)), Redrive((0,)))
    ),
    "an item whose process died": Life(
        Form("ways"), Weather(broken=("one.a", "two.b")), (Redrive((0, 1), Weather(dies=Death("post", "end", 1))),)
    ),
    "an item cleared by hand": Life(Form("chain"), Weather(broken=("read.a",)), (Clear("read", 0), Redrive((0,)))),
    "a shorter list": Life(
        Form("chain", when=True), Weather(broken=("post.c",)), (Restart("list", Weather(names="shorter")),)
    ),
    "another list where something stands": Life(
        Form("chain", ends="undone"), Weather(), (Restart("list", Weather(names="first gone")),)
    ),
    "another list where something stands for ever": Life(
        Form("asked", ends="irreversible"), Weather(), (Restart("list", Weather(names="first gone")),)
    ),
    "a filtered list that moves": Life(Form("through", ends="undone"), Weather(broken=("check.b",)), (Redrive((0,)),)),
    "a step between that fails in a redrive": Life(
        Form("between"), Weather(broken=("check.b",)), (Redrive((0,), Weather(broken=("single.single",))),)
    ),
    "a step between that fails in one redrive, and not in the next, of another item": Life(
        Form("between"),
        Weather(broken=("check.b", "check.c")),
        (Redrive((0,), Weather(broken=("check.c", "single.single"))), Redrive((0, 1))),
    ),
    "a question about all that is rejected in one redrive, and not in the next, of another item": Life(
        Form("decided"),
        Weather(broken=("check.b", "check.c")),
        (Redrive((0,), Weather(broken=("check.c",), rejected="decide")), Redrive((0,))),
    ),
    "a question that was not put again": Life(
        Form("asked"), Weather(broken=("post.a",)), (Restart("check", Weather(dies=Death("approve", "begin", 1))),)
    ),
}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("life", KNOWN)
def test_what_has_happened_before_happens_rightly(player: Player, life: str, pack: Pack) -> None:
    assert player.play(of_pack(KNOWN[life], pack)) == []


@pytest.mark.parametrize("bug", [bug for bug, it in MUTATIONS.items() if it.held_by == "lives"])
def test_a_bug_that_is_put_back_is_found(player: Player, bug: str) -> None:
    with MUTATIONS[bug].applied():
        assert any(player.play(life) for life in KNOWN.values())


def of_pack(life: Life, pack: Pack) -> Life:
    """The same life of an automation whose tasks take so many items each."""
    return replace(life, form=replace(life.form, pack=pack))


REJECTED = {"asked": ("a", "b"), "decided": ("decide",), "further": ("decide",)}
"""What may be rejected: the name of an item, or of the step that asks about all."""


@st.composite
def weathers(draw: st.DrawFn, form: Form, *, is_first: bool = False) -> Weather:
    """What an execution meets; in the first one items fail, so that people have something to order."""
    working = [stage for stage in form.stages if stage.skill == "work" and not stage.asked]
    items = [f"{stage.id}.{name}" for stage in working if stage.over for name in stage.names]
    broken = items if is_first else [*items, *(f"{stage.id}.{stage.id}" for stage in working if not stage.over)]
    steps = st.sampled_from(["post", "post", *(stage.id for stage in form.stages)])
    deaths = st.builds(Death, steps, st.sampled_from(sorted(WRITTEN)), st.integers(0, 2))
    return Weather(
        names="same" if is_first else draw(st.sampled_from(["same", "same", *sorted(LISTS)])),
        aside=tuple(draw(st.just([]) | st.lists(st.sampled_from(items), max_size=1))),
        broken=tuple(draw(st.lists(st.sampled_from(broken), min_size=2 * is_first, max_size=1 + 2 * is_first))),
        rejected=draw(st.sampled_from(["", "", *REJECTED.get(form.shape, ())])),
        dies=draw(st.none() | deaths) if not is_first else draw(st.none() | st.none() | deaths),
    )


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A form, a first execution, and what people order then: mostly dead letters, each for itself."""
    shape = draw(st.sampled_from(sorted(SHAPES)))
    ends = draw(st.sampled_from(["", "undone", "irreversible" if shape in REJECTED else "undone"]))
    form = Form(shape, draw(st.sampled_from(PACKS)), ends, draw(st.booleans()))
    steps = st.sampled_from(["list", *(stage.id for stage in form.stages)])
    redrives = st.builds(Redrive, st.lists(st.integers(0, 5), min_size=1, max_size=2).map(tuple), weathers(form))
    orders = st.one_of(
        redrives,
        redrives,
        redrives,
        st.builds(Restart, steps, weathers(form)),
        st.builds(Clear, steps, st.none() | st.integers(0, 2), weathers(form)),
        st.builds(Discard, st.integers(0, 5)) | redrives,
    )
    return Life(form, draw(weathers(form, is_first=True)), tuple(draw(st.lists(orders, min_size=2, max_size=4))))


@settings(
    max_examples=MANY or 50,
    deadline=None,
    derandomize=not MANY,
    phases=[Phase.generate, Phase.shrink] if MANY else [Phase.generate],
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(lives())
def test_whatever_happens_to_a_run_it_says_what_was_done_and_can_go_on(player: Player, life: Life) -> None:
    assert player.play(life) == []
