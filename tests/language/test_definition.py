"""A definition is complete, named by its hash, and the same wherever it is made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.language import Definition, agent_examples, examples, load_folder
from muster.language.kinds.skill import ResolvedSkill
from muster.language.resolved import places_in

Define = Callable[[str], Definition]


def test_every_field_of_the_first_example_is_resolved(define: Define) -> None:
    definition = define(examples.FIRST)
    read, sort, approve, tell = definition.steps
    assert [step.after for step in definition.steps] == [(), ("read",), ("sort",), ("approve",)]
    assert [step.kind for step in definition.steps] == ["skill", "agent", "human", "notify"]
    assert [step.lane for step in definition.steps] == ["worker", "async", "async", "async"]
    assert [step.title for step in definition.steps] == ["Read", "Sort", "Approve", "Tell"]
    assert [step.aligned_to for step in definition.steps] == ["read", "read", "read", None]
    assert approve.human is not None
    assert approve.human.within == 24 * 3600
    assert approve.human.otherwise == "reject"
    assert approve.references == ("read",)
    assert sort.agent == "clerk"
    assert tell.notify[0].text == "{{ steps.sort | present | length }} letters sorted"
    assert read.retry.times == 0
    assert definition.budget == Decimal("0.5")
    assert definition.deadlines[0].within == 1800
    assert definition.deadlines[0].notify[0].slack == "#office"
    schedule, files = definition.triggers
    assert (schedule.schedule, schedule.timezone) == ("0 7 * * 1-5", "Europe/Berlin")
    assert (files.path, files.match, files.input, files.every) == (
        "/srv/letters",
        ("*.txt", "*.pdf"),
        "letters",
        30,
    )
    assert definition.settings == {"office_channel": "#office", "inbox": "/srv/letters", "limit": 5000}


def test_agents_are_inlined_with_the_department_and_tiers_of_their_file(define: Define) -> None:
    definition = define(examples.FIRST)
    assert definition.step("sort").agent == "clerk"
    assert list(definition.agents) == ["clerk"]
    assert definition.agents["clerk"].department == "office"
    assert definition.agents["clerk"].tiers == ["fast_model", "careful_model"]


def test_lane_and_timeout_come_from_the_step_else_the_skill_else_the_defaults(define: Define) -> None:
    definition = define(
        """
        automation: a
        defaults: { timeout: 7m, retry: { times: 2 }, pool: small, priority: 5 }
        steps:
          - { id: one, skill: office.file_letter, with: { letter: {} } }
          - { id: two, skill: office.file_letter, with: { letter: {} }, lane: worker, timeout: 1s, pool: big }
          - { id: three, skill: office.read_letter, with: { uri: x }, retry: { times: 0 } }
          - { id: four, branch: [ { to: [] } ] }
        """
    )
    one, two, three, four = definition.steps
    assert (one.lane, one.timeout, one.pool, one.retry.times) == ("async", 30, "small", 2)
    assert (two.lane, two.timeout, two.pool, two.priority) == ("worker", 1, "big", 5)
    assert (three.lane, three.timeout, three.retry.times) == ("worker", 420, 0)
    assert (four.lane, four.timeout, four.retry.times, four.priority) == ("async", None, 0, 5)


def test_how_many_items_share_a_task_may_follow_from_the_lane(define: Define) -> None:
    definition = define(
        """
        automation: a
        defaults: { pool: small }
        steps:
          - { id: one, each: [1], pack: auto, agent: clerk, ask: x }
        """
    )
    assert definition.step("one").pack is None, "Airflow counts tasks in a pool, and each item takes its place"
    definition = define(
        """
        automation: a
        steps:
          - { id: one, each: [1], pack: auto, agent: clerk, ask: x }
          - { id: two, each: [1], pack: auto, skill: office.file_letter, with: { letter: {} }, lane: worker }
        """
    )
    assert [step.pack for step in definition.steps] == ["all", None]
    assert [step.is_mapped for step in definition.steps] == [False, True]


def test_a_fallback_without_arguments_gets_those_of_the_step(define: Define) -> None:
    definition = define(
        """
        automation: a
        steps:
          - id: one
            skill: office.read_letter
            with: { uri: x }
            fallback: { skill: office.read_letter }
          - id: two
            agent: clerk
            ask: Do it
            with: { a: 1 }
            fallback: { agent: clerk, with: {} }
        """
    )
    one, two = (step.fallback for step in definition.steps)
    assert one is not None
    assert two is not None
    assert (one.skill, one.arguments) == ("office.read_letter", {"uri": "x"})
    assert (two.agent, two.ask, two.arguments) == ("clerk", "Do it", {})


def test_the_ways_of_a_branch_wait_for_it_and_not_for_the_step_above(define: Define) -> None:
    definition = define(examples.KINDS["branch"])
    assert {step.id: step.after for step in definition.steps} == {
        "read": (),
        "choose": ("read",),
        "approve": ("choose",),
        "file": ("choose",),
        "done": ("approve", "file"),
    }
    assert [way.to for way in definition.step("choose").branch] == [("approve",), ("file",)]


def test_fan_outs_are_aligned_when_they_go_over_the_same_list_and_only_then(define: Define) -> None:
    definition = define(
        """
        automation: a
        inputs: { letters: { type: array }, others: { type: array } }
        steps:
          - { id: one, each: "{{ inputs.letters }}", skill: office.read_letter, with: { uri: "{{ item }}" } }
          - { id: two, each: "{{ steps.one }}", skill: office.read_letter, with: { uri: "{{ item }}" } }
          - { id: three, each: "{{ steps.two }}", skill: office.read_letter, with: { uri: "{{ item }}" } }
          - { id: same, each: "{{ inputs.letters }}", skill: office.read_letter, with: { uri: "{{ item }}" } }
          - { id: fewer, each: "{{ steps.one[0].parts | unique }}", skill: office.read_letter, with: { uri: x } }
          - { id: other, each: "{{ inputs.others }}", skill: office.read_letter, with: { uri: "{{ item }}" } }
          - { id: fixed, each: [1, 2], skill: office.read_letter, with: { uri: "{{ item }}" } }
          - { id: after_fixed, each: "{{ steps.fixed }}", skill: office.read_letter, with: { uri: "{{ item }}" } }
          - { id: after_fewer, each: "{{ steps.fewer }}", skill: office.read_letter, with: { uri: "{{ item }}" } }
        """
    )
    assert {step.id: step.aligned_to for step in definition.steps} == {
        "one": "one", "two": "one", "three": "one", "same": "one", "fewer": "fewer",
        "other": "other", "fixed": "fixed", "after_fixed": "fixed", "after_fewer": "fewer",
    }  # fmt: skip


def test_when_references_name_only_the_steps_of_when(define: Define) -> None:
    definition = define(
        """
        automation: a
        steps:
          - { id: one, skill: office.read_letter, with: { uri: x } }
          - { id: two, human: { ask: "{{ steps.one.uri }}?", assignees: [boss] } }
          - id: three
            when: "{{ steps.two.approved }}"
            skill: office.read_letter
            with: { uri: "{{ steps.one }}" }
        """
    )
    assert definition.step("two").references == ("one",)
    assert definition.step("two").when_references == ()
    assert definition.step("three").references == ("one", "two")
    assert definition.step("three").when_references == ("two",)


def test_a_definition_survives_being_written_and_read_to_the_byte(site: Path) -> None:
    for number, text in enumerate([examples.FIRST, *examples.KINDS.values()]):
        (site / "automations" / f"{number}.yaml").write_text(text)
    catalogue = load_folder(site)
    assert len(catalogue.definitions) == len(examples.KINDS) + 1
    for definition in catalogue.definitions.values():
        read_back = Definition.model_validate_json(definition.canonical_json())
        assert read_back == definition
        assert read_back.canonical_json() == definition.canonical_json()
        assert read_back.hash == definition.hash


def test_the_hash_is_the_same_in_processes_with_different_hash_seeds(site: Path) -> None:
    (site / "automations" / "a.yaml").write_text(examples.FIRST)
    (site / "automations" / "b.yaml").write_text(examples.KINDS["agent"])
    program = (
        "import sys, pathlib; from muster.language import load_folder; "
        "print([d.canonical_json() for d in load_folder(pathlib.Path(sys.argv[1])).definitions.values()])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, str(site)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(outputs) == 1
    assert b"sort_letters" in outputs.pop()


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("budget: { usd: 0.50 }", "budget: { usd: 0.5 }  # a comment", True),
        ("within: 24h", "within: 1d", True),
        ("within: 24h", "within: 25h", False),
        ("otherwise: reject", "", True),
        ("Sort letters", "Sort the letters", False),
    ],
)
def test_the_hash_changes_with_the_meaning_and_only_with_it(define: Define, old: str, new: str, same: bool) -> None:
    assert old in examples.FIRST
    before = define(examples.FIRST).hash
    assert (define(examples.FIRST.replace(old, new)).hash == before) is same


def test_the_hash_changes_with_the_agent_and_the_settings(define: Define, site: Path) -> None:
    before = define(examples.FIRST).hash
    (site / "agents" / "office.yaml").write_text(agent_examples.AGENTS.replace("small company", "large company"))
    with_other_agent = load_folder(site).definitions["sort_letters"].hash
    (site / "settings.yaml").write_text(examples.SETTINGS.replace("5000", "6000"))
    with_other_setting = load_folder(site).definitions["sort_letters"].hash
    assert len({before, with_other_agent, with_other_setting}) == 3


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def _with_settings(settings: dict[str, Any]) -> Definition:
    step = ResolvedSkill(id="a", kind="skill", title="A", after=(), lane="worker", skill="a.b", arguments=settings)
    return Definition(name="a", title="A", category="c", settings=settings, steps=(step,))


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(value[key]) for key in reversed(value)}
    return [_reversed(inner) for inner in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=5))
def test_canonical_json_does_not_depend_on_the_order_of_keys(settings: dict[str, Any]) -> None:
    written = _with_settings(settings).canonical_json()
    assert _with_settings(_reversed(settings)).canonical_json() == written
    assert Definition.model_validate_json(written).canonical_json() == written
    assert json.loads(written)["format"] == 1


def test_a_compensation_is_resolved_with_its_own_retries_and_what_it_refers_to(define: Define) -> None:
    definition = define(
        "automation: a\nsteps:\n"
        "  - id: first\n    skill: office.read_letter\n    with: {uri: x}\n"
        "    compensate: {skill: office.read_letter, with: {uri: '{{ output }} {{ steps.first }}'}}\n"
        "  - id: asked\n    human: {ask: Really?, assignees: [ann]}\n"
        "  - id: last\n    skill: office.read_letter\n    with: {uri: x}\n    irreversible: true\n"
    )
    first, _, last = definition.steps
    assert first.compensate is not None
    assert (first.compensate.retry.times, first.compensate.references, first.references) == (5, ("first",), ())
    assert last.irreversible
    assert last.compensate is None


def test_a_retry_is_resolved_with_what_differs_by_kind_of_failure(define: Define) -> None:
    definition = define("""
        automation: a
        budget: {retries: 40}
        steps:
          - id: file
            skill: office.read_letter
            with: {uri: x}
            retry: {times: 3, delay: 2s, on: {rate_limit: {times: 8, max_delay: 1h}, bad_output: {delay: 5s}}}
        """)
    retry = definition.step("file").retry
    assert (retry.times, retry.delay, definition.retries, definition.budget) == (3, 2.0, 40, None)
    assert (retry.on["rate_limit"].times, retry.on["rate_limit"].max_delay) == (8, 3600.0)
    assert (retry.on["bad_output"].times, retry.on["bad_output"].delay) == (None, 5.0)
    assert Definition.model_validate_json(definition.canonical_json()) == definition


def test_an_expression_among_addresses_may_give_several_or_none() -> None:
    given = {"email": [["a@example.com", "b@example.com"], "c@example.com", None], "slack": None}
    assert places_in(given) == [("email", f"{name}@example.com") for name in "abc"]
