"""Airflow's keys of tasks are taken apart by what the definition says, not by how they look."""

from __future__ import annotations

import pytest

from muster.execution.task_keys import task_of
from support.runs import Site

SKILLS = """
from muster.skills import skill

@skill("shop.echo")
def echo(value: str) -> str:
    "Gives it back."
    return value
"""
pytestmark = pytest.mark.skills(shop=SKILLS)
STEPS = """automation: named
steps:
  - {id: a, skill: shop.echo, with: {value: x}}
  - {id: a_1, skill: shop.echo, with: {value: x}, compensate: {skill: shop.echo, with: {value: x}}}
  - {id: b, each: [1, 2], skill: shop.echo, with: {value: x}}
  - {id: b_x_3, each: [1, 2], skill: shop.echo, with: {value: x}}
  - {id: c, each: [1, 2], pack: all, skill: shop.echo, with: {value: x}}
  - {id: c_1, skill: shop.echo, with: {value: x}}
"""


@pytest.mark.parametrize(
    ("key", "step", "slot", "role"),
    [
        ("a", "a", None, "performs"),
        ("a_1", "a_1", None, "performs"),
        ("unwind.a_1", "a_1", None, "undoes"),
        ("b", "b", None, "performs"),
        ("b_0", "b", 0, "performs"),
        ("b_17", "b", 17, "performs"),
        ("b.items", "b", None, "lays out"),
        ("b_x_3", "b_x_3", None, "performs"),
        ("b_x_3_3", "b_x_3", 3, "performs"),
        ("c_1", "c_1", None, "performs"),
    ],
)
def test_a_key_stands_for_one_step(site: Site, key: str, step: str, slot: int | None, role: str) -> None:
    found = task_of(site.definition(STEPS), key)
    assert found is not None
    assert (found.step.id, found.slot, found.role) == (step, slot, role)


@pytest.mark.parametrize("key", ["open", "close", "unwind.begin", "a_2", "c_0", "nothing", "b_x"])
def test_what_is_no_task_of_a_step_stands_for_none(site: Site, key: str) -> None:
    assert task_of(site.definition(STEPS), key) is None


def test_a_task_that_airflow_failed_is_not_blamed_on_a_step_of_a_like_name(site: Site) -> None:
    """`a` ended as it should; the task of `a_1` died without a word."""
    run = site.open(site.definition(STEPS))
    site.step(run, "a")
    closed = site.close(run, {"a": "success", "a_1": "failed"})
    assert closed.status == "failed"
    assert "step a_1 stopped without an outcome" in (closed.reason or "")
    assert "step a stopped" not in (closed.reason or "")
