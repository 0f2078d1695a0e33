"""The order of steps is explicit, and circles are found however they run."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from muster.language.graph import before, circle, waits
from muster.language.kinds.branch import BranchStep
from muster.language.kinds.notify import NotifyStep
from muster.language.steps import StepBase


def step(step_id: str, **keys: object) -> StepBase:
    return NotifyStep.model_validate({"id": step_id, "notify": [{"slack": "#a"}], **keys})


def test_a_step_waits_for_the_one_above_unless_it_says_otherwise() -> None:
    steps = [
        step("a"),
        step("b"),
        step("c", after="a"),
        step("d", after=[]),
        step("e", after=["b", "b", "c"]),
    ]
    assert waits(steps) == {"a": (), "b": ("a",), "c": ("a",), "d": (), "e": ("b", "c")}


def test_a_way_waits_for_its_branch_and_for_what_it_names_itself() -> None:
    branch = BranchStep.model_validate({"id": "x", "branch": [{"when": True, "to": ["b", "b"]}, {"to": "c"}]})
    assert waits([step("a"), branch, step("b"), step("c", after="a"), step("d")]) == {
        "a": (),
        "x": ("a",),
        "b": ("x",),
        "c": ("a", "x"),
        "d": ("c",),
    }


GRAPHS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3).map(tuple), max_size=8
).map(lambda graph: {node: tuple(n for n in after if n in graph) for node, after in graph.items()})


@given(GRAPHS)
def test_a_circle_is_found_exactly_when_there_is_one(graph: dict[str, tuple[str, ...]]) -> None:
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError:
        found = circle(graph)
        assert found is not None
        assert found[0] == found[-1]
        assert all(later in graph[earlier] for earlier, later in pairwise(found))
    else:
        assert circle(graph) is None
        found_before = before(graph)
        for node in order:
            expected = set(graph[node]).union(*(found_before[other] for other in graph[node]))
            assert found_before[node] == expected


def test_a_chain_of_thousands_is_walked_without_recursion() -> None:
    graph = {str(n): (str(n + 1),) if n < 3000 else () for n in range(3001)}
    assert circle(graph) is None
    assert len(before(graph)["0"]) == 3000
