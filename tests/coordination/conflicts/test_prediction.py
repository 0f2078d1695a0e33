"""Conflicts are predicted from what tasks declare and what earlier runs did, for tasks that may run side by side."""

from __future__ import annotations

import random
import re
from itertools import product

import pytest

from muster.coordination.conflicts import PredictedConflict, TaskTouches, predict_conflicts
from muster.coordination.conflicts.patterns import NameIndex, overlapping
from muster.coordination.conflicts.prediction import COVERED, NAMED
from muster.errors import PermanentError


def predicted(*tasks: TaskTouches, **options: object) -> dict[tuple[str, str], PredictedConflict]:
    """The conflicts by their tasks."""
    return {(found.first, found.second): found for found in predict_conflicts(tasks, **options)}  # type: ignore[arg-type]


def test_two_tasks_that_declare_one_file_conflict_with_the_probability_of_the_formula() -> None:
    found = predicted(TaskTouches("a", touches=("x", "y")), TaskTouches("b", touches=("y",)), TaskTouches("c"))
    assert list(found) == [("a", "b")]
    assert found["a", "b"].probability == pytest.approx(NAMED**2)
    assert [resource.name for resource in found["a", "b"].resources] == ["y"]


def test_tasks_that_a_dependency_orders_never_conflict_also_not_over_others() -> None:
    tasks = [
        TaskTouches("last", ("middle",), ("x",)),
        TaskTouches("first", (), ("x",)),
        TaskTouches("middle", ("first",), ()),
        TaskTouches("beside", (), ("x",)),
    ]
    assert set(predicted(*tasks)) == {("last", "beside"), ("first", "beside")}


def test_history_raises_what_was_touched_and_lowers_what_was_only_declared() -> None:
    tasks = [TaskTouches("a", touches=("x",), kind="k"), TaskTouches("b", touches=("x",), kind="l")]
    assert predict_conflicts(tasks, {"k": [["x"]] * 8})[0].probability == pytest.approx((2 * NAMED + 8) / 10 * NAMED)
    assert predict_conflicts(tasks, {"k": [["y"]] * 8})[0].probability == pytest.approx(2 * NAMED / 10 * NAMED)


def test_a_task_that_declares_nothing_is_known_by_its_history() -> None:
    found = predicted(TaskTouches("a", kind="k"), TaskTouches("b", touches=("x",)), history={"k": [["x"], ["x"], []]})
    assert found["a", "b"].probability == pytest.approx(2 / 5 * NAMED)


def test_several_resources_add_up_and_the_likeliest_comes_first() -> None:
    found = predicted(
        TaskTouches("a", touches=("x", "y"), kind="k"), TaskTouches("b", touches=("x", "y")), history={"k": [["y"]] * 2}
    )["a", "b"]
    x, y = NAMED / 2 * NAMED, (NAMED + 1) / 2 * NAMED
    assert [resource.name for resource in found.resources] == ["y", "x"]
    assert found.probability == pytest.approx(1 - (1 - x) * (1 - y))


def test_a_pattern_shares_what_it_covers_among_the_names_that_are_known() -> None:
    api = TaskTouches("api", touches=("src/api/*.py",))
    assert predicted(api, TaskTouches("a", touches=("src/api/a.py",)))["api", "a"].probability == pytest.approx(
        COVERED * NAMED
    )
    assert predicted(api, TaskTouches("a", touches=("src/api/a.js", "lib/src/api/a.py"))) == {}
    several = predicted(api, *(TaskTouches(name, touches=(f"src/api/{name}.py",)) for name in "abcd"))
    assert several["api", "a"].probability == pytest.approx((1 - (1 - COVERED) ** 0.25) * NAMED)


def test_two_patterns_meet_in_an_unknown_name_or_in_those_they_have_in_common() -> None:
    one, other = TaskTouches("a", touches=("src/*",)), TaskTouches("b", touches=("*.py",))
    found = predicted(one, other)["a", "b"]
    assert found.probability == pytest.approx(COVERED**2)
    assert set(found.resources[0].name.split(" & ")) == {"src/*", "*.py"}
    names = TaskTouches("c", ("a", "b"), ("src/1.py", "src/2.py"))
    share = 1 - (1 - COVERED) ** 0.5
    assert predicted(one, other, names)["a", "b"].probability == pytest.approx(1 - (1 - share**2) ** 2)


def test_tasks_that_are_alike_conflict_with_each_other() -> None:
    found = predicted(*(TaskTouches(name, touches=("x", "y*")) for name in "abc"))
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    expected = 1 - (1 - NAMED**2) * (1 - COVERED**2)
    assert [conflict.probability for conflict in found.values()] == pytest.approx([expected] * 3)


@pytest.mark.parametrize(
    ("ours", "theirs", "suggestion"),
    [
        (("x",), ("x", "y", "z"), "order"),
        (("x", "1", "2"), ("x", "3", "4"), "lease"),
        (("src/*",), ("src/a", "1"), "split"),
        (("src/*",), ("src/*",), "split"),
    ],
)
def test_what_to_do_depends_on_how_much_is_shared(
    ours: tuple[str, ...], theirs: tuple[str, ...], suggestion: str
) -> None:
    found = predicted(TaskTouches("a", touches=ours), TaskTouches("b", touches=theirs))["a", "b"]
    assert found.suggestion == suggestion
    assert f"`{found.resources[0].name}`" in found.why


def test_what_is_less_likely_than_asked_for_is_left_out() -> None:
    tasks = [TaskTouches("a", touches=("x",)), TaskTouches("b", touches=("x",)), TaskTouches("c", touches=("*",))]
    assert [(found.first, found.second) for found in predict_conflicts(tasks, at_least=0.7)] == [("a", "b")]
    assert len(predict_conflicts(tasks)) == 3


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([TaskTouches("a"), TaskTouches("a")], "`a`"),
        ([TaskTouches("a", ("z",))], "`z`, which is not there"),
        ([TaskTouches("a", ("b",)), TaskTouches("b", ("a",))], "circle"),
        ([TaskTouches("a", ("a",))], "circle"),
    ],
)
def test_tasks_that_make_no_plan_are_refused(tasks: list[TaskTouches], said: str) -> None:
    with pytest.raises(PermanentError, match=re.escape(said)):
        predict_conflicts(tasks)


def test_each_pair_is_as_a_plain_look_at_each_resource_says() -> None:
    pick = random.Random(1)
    names = [f"n{number}" for number in range(12)]
    tasks = [TaskTouches(f"t{place}", (), tuple(pick.sample(names, 3)), pick.choice("kl")) for place in range(40)]
    history = {kind: [pick.sample(names, 5) for _ in range(6)] for kind in "kl"}

    def chance(task: TaskTouches, name: str) -> float:
        earlier = sum(name in run for run in history[task.kind or ""])
        value = (2 * NAMED * (name in task.touches) + earlier) / (2 + 6)
        return value if value >= 0.1 else 0

    found = predict_conflicts(tasks, history)
    assert len(found) == 40 * 39 / 2
    by_id = {task.id: task for task in tasks}
    for conflict in found:
        left = 1.0
        for name in names:
            left *= 1 - chance(by_id[conflict.first], name) * chance(by_id[conflict.second], name)
        assert conflict.probability == pytest.approx(1 - left)


def test_a_pattern_matches_what_a_look_at_each_name_finds() -> None:
    names = ["".join(letters) for length in range(4) for letters in product("ab/", repeat=length)]
    index = NameIndex(names)
    for pattern in ("*", "a*", "*a", "a*b", "*/*", "a*b*", "**", "ab", "a.b*"):
        matches = re.compile(re.escape(pattern).replace(r"\*", ".*")).fullmatch
        assert index.matching(pattern) == sorted(filter(matches, names))


def test_patterns_overlap_exactly_where_one_name_matches_both() -> None:
    patterns = ["".join(letters) for length in range(1, 5) for letters in product("ab*", repeat=length)]
    patterns = [pattern for pattern in patterns if "*" in pattern and "**" not in pattern]
    names = ["".join(letters) for length in range(8) for letters in product("ab", repeat=length)]
    index = NameIndex(names)
    matched = {pattern: set(index.matching(pattern)) for pattern in patterns}
    expected = {frozenset((one, other)) for one in patterns for other in patterns if matched[one] & matched[other]}
    pairs = list(overlapping(patterns))
    assert {frozenset(pair) for pair in pairs} == expected
    assert len(pairs) == len(expected)
