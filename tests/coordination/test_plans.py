"""What is wrong with a plan is said at once, and all of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

from muster.coordination.plans import Plan
from muster.errors import PermanentError


def task(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "ask": "Do it.", **more}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "A plan is a list of tasks, not NoneType"),
        ({"goal": "x"}, "not a mapping without `tasks`"),
        ([], "there is no task in it"),
        ([task("a"), task("a")], "there are two tasks `a`"),
        ([task("a", after=["b"])], "task `a` is after `b`, which is no task of the plan"),
        ([task("a", uses={"x": "b.y"})], "task `a` uses `b.y`: `b` is no task of the plan"),
        ([task("a", after=["b"]), task("b", uses={"x": "a"})], "these tasks wait for each other: a → b → a"),
        ([task("a", after=["a"])], "these tasks wait for each other: a → a"),
        ([task("a", uses={"x": "b"}, **{"with": {"x": 1}}), task("b")], "task `a` has `x` twice, in `with` too"),
        ([{"id": "a"}], "task `a`: ask: is missing"),
        ([task("A b")], "task `A b`: id: must match"),
        (["a"], "task 1: value: must be"),
        ([task("a", effort=0)], "effort: must be more than 0"),
        ([task("a", nedes=["x"])], "nedes: is not known here"),
    ],
)
def test_a_plan_in_which_something_is_wrong_is_refused_in_words(value: Any, said: str) -> None:
    with pytest.raises(PermanentError) as refused:
        Plan.of(value)
    assert said in refused.value.message


def test_what_a_task_uses_must_be_in_what_the_other_one_returns() -> None:
    gives = {"type": "object", "properties": {"size": {"type": "object", "properties": {"width": {}}}}}
    tasks = [task("a", returns=gives), task("b", uses={"x": "a.size.width"}), task("c", uses={"x": "a.size.height"})]
    with pytest.raises(PermanentError) as refused:
        Plan.of(tasks)
    assert "task `c` uses `a.size.height`: what `a` returns has no `height`" in refused.value.message
    assert "`b`" not in refused.value.message


def test_all_that_is_wrong_is_said_together() -> None:
    with pytest.raises(PermanentError) as refused:
        Plan.of([task("a", after=["x"]), task("b", uses={"y": "z"})])
    assert refused.value.message.count(";") == 1


def test_a_whole_number_from_a_model_is_an_effort() -> None:
    assert Plan.of({"tasks": [task("a", effort=3)]}).tasks[0].effort == 3


def test_the_longest_chain_after_a_task_is_what_remains_of_it() -> None:
    plan = Plan.of(
        [
            task("a", effort=1),
            task("b", effort=2, after=["a"]),
            task("c", effort=5, uses={"x": "a"}),
            task("d", effort=4),
        ]
    )
    assert plan.remaining == [6, 2, 5, 4]


def test_a_plan_of_500_tasks_is_looked_at_in_little_time() -> None:
    tasks = [task(f"t{n}", after=[f"t{m}" for m in range(max(0, n - 5), n)]) for n in range(500)]
    began = time.process_time()
    assert Plan.of(tasks).remaining[0] == 500 * 60
    assert time.process_time() - began < 5, "it does not grow with the square of the tasks"
