"""Who does which task next, and who is in the team."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.coordination.assignment import Member, Progress, assign, lost, ready
from muster.coordination.formation import form
from muster.coordination.plans import Plan
from muster.errors import PermanentError


def plan(*tasks: dict[str, Any]) -> Plan:
    return Plan.of([{"ask": "Do it.", **task} for task in tasks])


def member(slot: int, *skills: str) -> Member:
    return Member(slot, f"agent_{slot}", frozenset(skills))


def test_the_task_before_the_longest_chain_comes_first() -> None:
    of = plan({"id": "a"}, {"id": "b"}, {"id": "c", "after": ["b"]})
    assert ready(of, Progress(), range(3)) == [1, 0]
    assert assign(of, [member(0)], Progress(), range(3))[0].task == 1


def test_a_task_goes_to_the_free_member_with_the_fewest_other_skills() -> None:
    of = plan({"id": "a", "needs": ["x"]})
    members = [member(0, "x", "y", "z"), member(1, "x", "y"), member(2, "y")]
    (slot, choice), *rest = assign(of, members, Progress(), range(1)).items()
    assert (slot, choice.task, rest) == (1, 0, [])
    assert (
        choice.why == "of 2 free members with x the one with the fewest other skills, then with the fewest tasks so far"
    )
    busy = Progress(taken={5: 1})
    assert list(assign(of, members, busy, range(1))) == [0]


def test_what_waits_for_a_task_that_failed_is_lost() -> None:
    of = plan({"id": "a"}, {"id": "b", "after": ["a"]}, {"id": "c"})
    progress = Progress(over={0})
    assert (lost(of, progress, range(3)), ready(of, progress, range(3))) == ([1], [2])


@st.composite
def plans(draw: Any) -> Plan:
    count = draw(st.integers(1, 12))
    skill = st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True)
    return plan(
        *(
            {
                "id": f"t{n}",
                "needs": draw(skill),
                "after": [f"t{m}" for m in draw(st.lists(st.integers(0, n - 1), max_size=3, unique=True))] if n else [],
                "effort": draw(st.integers(1, 50)),
            }
            for n in range(count)
        )
    )


@given(of=plans(), size=st.integers(1, 5), seed=st.integers(0, 1000))
def test_every_plan_comes_to_its_end_and_each_task_is_done_by_somebody_who_can(of: Plan, size: int, seed: int) -> None:
    agents = {"one": frozenset("xyz"), "two": frozenset("xy"), "three": frozenset("z")}
    members, rng = form(of, agents, size), random.Random(seed)
    done: list[int] = []
    taken: dict[int, int] = {}
    while len(done) < len(of.tasks):
        progress = Progress(done=set(done), over=set(done), taken=dict(taken))
        chosen = assign(of, members, progress, range(len(of.tasks)))
        assert chosen == assign(of, members, progress, range(len(of.tasks))), "the same state, the same answer"
        for slot, choice in chosen.items():
            assert choice.task not in taken
            assert set(of.tasks[choice.task].needs) <= members[slot].skills
            assert set(of.before[choice.task]) <= set(done)
            taken[choice.task] = slot
        assert taken, "somebody always has something to do"
        ends = rng.choice(sorted(taken))
        del taken[ends]
        done.append(ends)
    assert sorted(done) == list(range(len(of.tasks)))


def test_a_team_is_as_small_as_it_can_be_and_grows_where_the_work_is() -> None:
    long = {"needs": ["y"], "effort": 500}
    of = plan({"id": "a", "needs": ["x"]}, {"id": "b", **long}, {"id": "c", **long})
    agents = {"x_only": frozenset("x"), "y_only": frozenset("y"), "both": frozenset("xy")}
    assert [one.agent for one in form(of, agents, 1)] == ["both"]
    del agents["both"]
    assert [one.agent for one in form(of, agents, 9)] == ["x_only", "y_only", "y_only"]


@pytest.mark.parametrize(
    ("needs", "size", "said"),
    [
        (["x", "w"], 3, "task `a` needs `w`, which no agent of the team has among its skills"),
        (["x", "z"], 3, "no one agent of the team has all of it: split the task"),
    ],
)
def test_a_task_that_no_agent_can_do_is_told(needs: list[str], size: int, said: str) -> None:
    with pytest.raises(PermanentError) as refused:
        form(plan({"id": "a", "needs": needs}), {"one": frozenset("xy"), "two": frozenset("z")}, size)
    assert said in refused.value.message


def test_a_team_that_is_too_small_is_told_how_large_it_must_be() -> None:
    of = plan({"id": "a", "needs": ["x"]}, {"id": "b", "needs": ["z"]})
    with pytest.raises(PermanentError) as refused:
        form(of, {"one": frozenset("x"), "two": frozenset("z")}, 1)
    assert "needs 2 agents (one, two), and the team has 1 places" in refused.value.message
    assert refused.value.remedy == "Give the team `size: 2`, or plan with fewer different skills."


def test_a_plan_is_not_refused_for_want_of_places_that_suffice() -> None:
    skills = [f"x{number}" for number in range(40)]
    four = {f"z{number}": frozenset(skills[number::4]) for number in range(4)}
    big = {"a0": frozenset(skills[:16]), "a1": frozenset(skills[16:28]), "a2": frozenset(skills[28:34])}
    others = {f"f{number}": frozenset([skills[number % 40]]) for number in range(60)}
    of = plan(*({"id": skill, "needs": [skill]} for skill in skills))
    assert len(form(of, {**big, **others, **four}, 4)) == 4
