"""What cannot be undone has a person's approval on every way that leads to it, or is refused where it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.language import Definition
from muster.language.approvals import way_past
from muster.language.graph import waits
from muster.language.kinds.branch import BranchStep
from muster.language.kinds.human import HumanStep
from muster.language.kinds.notify import NotifyStep
from muster.language.steps import StepBase

Problems = Callable[[str], list[str]]
Define = Callable[[str], Definition]

DO = "skill: office.read_letter, with: {uri: x}"
ASK = "human: {ask: Really?, assignees: [lead]}"
LIST, CHECKED = 'each: "{{ inputs.names }}"', 'each: "{{ steps.check }}"'


def automation(*steps: str) -> str:
    """An automation of these steps, with a list that may be fanned out over in line 3."""
    head = "automation: a\ninputs:\n  names: {type: array, default: [x, y]}\nsteps:\n"
    return head + "".join(f"  - {{{step}}}\n" for step in steps)


AFTER = "after: [approve, other]"
VAIN = (
    "`post` cannot be undone, and a rejection of `approve` skips it, "
    "also where `second` is asked after that and approves"
)
SECOND = f"id: second, {ASK}"
POST = f"id: post, irreversible: true, {DO}"
ROUTE = 'id: route, branch: [{when: "{{ inputs.names }}", to: approve}, {to: other}]'
APPROVE, OTHER = f"id: approve, {ASK}", f"id: other, {DO}"
PLAIN, ONE, READ = ROUTE.replace("approve", "one"), f"id: one, {DO}", f"id: read, {DO}"
NOWHERE = ROUTE.replace("{to: other}", "{when: false, to: other}")
BOTH = (
    "Say in its `when` what both answers mean for it; where each of them must approve, "
    "write `after: [approve, second]`."
)
REFUSED, APPROVED = 'when: "{{ not steps.approve.approved }}"', 'when: "{{ steps.approve.approved }}"'
APPEAL = 'when: "{{ not steps.approve[index].approved }}"'
TELL = f"id: tell, {REFUSED}, {DO}"
DECIDES = 'id: route, branch: [{when: "{{ steps.approve.approved }}", to: [TO]}, {to: [second]}]'


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([OTHER, POST], "`post` cannot be undone, and nobody approves it Put a `human` step before it."),
        ([f"{APPROVE}, {LIST}", POST], "`post` cannot be undone, and `approve` asks about items, not about all of it"),
        (
            [f"{APPROVE}, {LIST}", POST + ", each: \"{{ ['x', 'y'] }}\""],
            "`post` cannot be undone, and `approve` asks about the items of another list",
        ),
        (
            [ROUTE, APPROVE, OTHER, f"{POST}, {AFTER}"],
            "`post` cannot be undone, and nobody approves it where `route` goes to `other`",
        ),
        (
            [ROUTE.replace("to: other", "to: []"), APPROVE, f"{OTHER}, after: []", f"{POST}, {AFTER}"],
            "`post` cannot be undone, and nobody approves it where `route` goes nowhere",
        ),
        (
            [NOWHERE, APPROVE, OTHER, f"{POST}, {AFTER}"],
            "`post` cannot be undone, and nobody approves it where `route` goes to `other`",
        ),
        (
            [ROUTE, f"{APPROVE}, {LIST}", OTHER, f"{POST}, {LIST}, after: [approve, other]"],
            "`post` cannot be undone, and nobody approves it where `route` goes to `other`",
        ),
        ([APPROVE, f"id: second, {REFUSED}, {ASK}", POST], VAIN),
        ([APPROVE, f"id: second, {APPROVED}, {ASK}", POST], f"{VAIN} {BOTH}"),
        ([APPROVE, f"id: second, {REFUSED}, {ASK}, {LIST}", f"{POST}, {LIST}"], VAIN),
        ([f"{APPROVE}, {LIST}", f"id: second, {LIST}, {APPEAL}, {ASK}", f"{POST}, {LIST}"], VAIN),
        ([APPROVE, TELL, SECOND, POST], VAIN),
        ([APPROVE, DECIDES.replace("TO", ""), SECOND, POST], VAIN),
        ([APPROVE, DECIDES.replace("TO", "post"), SECOND, f"{POST}, after: [second]"], VAIN),
        (
            [NOWHERE, APPROVE, f"id: other, {ASK}", f"{READ}, after: []", f"{POST}, after: [approve, other, read]"],
            "`post` cannot be undone, and nobody approves it where `route` goes nowhere",
        ),
    ],
)  # fmt: skip
def test_what_nobody_approves_on_some_way_is_refused(problems: Problems, steps: list[str], expected: str) -> None:
    (said,) = problems(automation(*steps))
    line, column, rest = said.split(":", 2)
    assert (int(line), int(column)) == (4 + len(steps), 16), "where `irreversible` stands"
    assert rest.strip().startswith(expected)


@pytest.mark.parametrize(
    "steps",
    [
        [APPROVE, POST],
        [APPROVE, f"{POST}, {LIST}"],
        [f"{APPROVE}, {LIST}", f"{POST}, {LIST}"],
        [f"id: check, {LIST}, {DO}", f"{APPROVE}, {CHECKED}", OTHER, f"{POST}, {LIST}"],
        [f"id: check, {LIST}, {DO}", f"{APPROVE}, {CHECKED}", f"{POST}, {CHECKED}"],
        # All of what a step waits for has to end, so one approval among it is enough.
        [APPROVE, f"{OTHER}, after: []", f"{POST}, {AFTER}"],
        [APPROVE, PLAIN, ONE, OTHER, f"{POST}, after: [one, other]"],
        [ROUTE, APPROVE, f"id: other, {ASK}", f"{POST}, {AFTER}"],
        [ROUTE, APPROVE, f"id: other, {ASK}", f"{READ}, after: []", f"{POST}, after: [approve, other, read]"],
        [ROUTE, APPROVE, OTHER, f"{POST}, after: [approve]"],
        [ROUTE, APPROVE, OTHER, f"id: last, after: [approve, other], {ASK}", POST],
        # On the one way both are taken.
        [ROUTE.replace("to: approve", "to: [approve, read]"), APPROVE, READ, OTHER, f"{POST}, after: [approve, read]"],
        # The rejection of what comes before a branch skips the branch, and so everything behind it.
        [APPROVE, PLAIN, ONE, OTHER, f"{READ}, after: []", f"{POST}, after: [one, read]"],
        # Whose own `when`, or whose branch, names the approval says itself what a rejection means.
        [f"{APPROVE}, {LIST}", f'{POST}, when: "{{{{ steps.approve | select | length > 0 }}}}"'],
        [APPROVE, 'id: route, branch: [{when: "{{ steps.approve.approved }}", to: post}, {to: other}]', POST, OTHER],
        # It hears the rejection of every question before it, whatever decides about that in between.
        [APPROVE, TELL, POST],
        [APPROVE, OTHER, TELL, POST],
        [APPROVE, SECOND, TELL, POST],
        [APPROVE, f'id: route, {APPROVED}, branch: [{{to: post}}]', POST],
        [APPROVE, DECIDES.replace("TO", "one").replace("second", "other"), ONE, OTHER, f"{POST}, after: [one, other]"],
        # Who is asked after a rejection counts where the step says so; or where all must approve.
        [APPROVE, TELL, SECOND, f'{POST}, when: "{{{{ steps.approve.approved or steps.second.approved }}}}"'],
        [APPROVE, f"id: second, {APPROVED}, {ASK}", f"{POST}, after: [approve, second]"],
        [
            f"{APPROVE}, {LIST}",
            f"id: second, {LIST}, {APPEAL}, {ASK}",
            f'{POST}, {LIST}, when: "{{{{ steps.approve[index].approved or steps.second[index].approved }}}}"',
        ],
        # Whether all of a list shall be, after each was asked about: the rejected items stay out of it.
        [f"{APPROVE}, {LIST}", f'{SECOND}, when: "{{{{ steps.approve | select | length > 0 }}}}"', f"{POST}, {LIST}"],
        # A question may have a `when` of its own: who is not asked about need not be approved.
        [f'{APPROVE}, when: "{{{{ inputs.names }}}}"', POST],
    ],
)  # fmt: skip
def test_what_somebody_approves_on_every_way_is_accepted(define: Define, steps: list[str]) -> None:
    assert define(automation(*steps)).step("post").irreversible


ALL = "`steps.approve` is the list of the answers about all items: as a whole it is neither true nor false"
INSTEAD = (
    "Write `steps.approve[index]` for the answer about the item, "
    "or `steps.approve | select | length > 0` where one approval is enough."
)


@pytest.mark.parametrize(
    "condition",
    [
        "steps.approve",
        "steps['approve']",
        "not steps.approve",
        "steps.approve | present",
        "not steps.approve | list | reverse",
        "steps.approve | map(attribute='approved')",
        "steps.approve[1:]",
        "inputs.names and steps.approve",
        "steps.approve or inputs.names",
        "(steps.approve | default([])) == [] if steps.approve else false",
        "1 > (2 if steps.approve else 0)",
    ],
)
@pytest.mark.parametrize(
    ("step", "column"),
    [
        (f'{POST}, {LIST}, when: "{{{{ CONDITION }}}}"', 113),
        (f'id: post, when: "{{{{ CONDITION }}}}", {DO}', 22),
        ('id: route, branch: [{when: "{{ CONDITION }}", to: []}, {to: []}]', 33),
    ],
)
def test_the_answers_about_all_items_are_no_condition(
    problems: Problems, step: str, column: int, condition: str
) -> None:
    (said,) = problems(automation(f"{APPROVE}, {LIST}", step.replace("CONDITION", condition)))
    assert said.endswith(f": {ALL} {INSTEAD}")
    assert said.startswith(f"6:{column}: "), "where the condition stands"


def test_nor_are_they_within_a_text(problems: Problems) -> None:
    text = "{% if steps.approve %}yes{% endif %}"
    (said,) = problems(automation(f"{APPROVE}, {LIST}", f'id: tell, notify: [{{slack: "#a", text: "{text}"}}]'))
    assert ALL in said


@pytest.mark.parametrize(
    "condition",
    [
        "steps.approve[0]",
        "not steps.approve | first",
        "steps.approve | select",
        "steps.approve | selectattr('approved')",
        "not steps.approve | reject",
        "steps.approve | present | length == 2",
        "inputs.names | length == steps.approve | length",
        "inputs.names or steps.approve[0].approved",
    ],
)
def test_what_is_said_of_them_is(define: Define, condition: str) -> None:
    text = "{% for answer in steps.approve %}{{ answer.by if answer else '' }}{% endfor %}"
    tell = f'id: tell, {CHECKED.replace("check", "approve")}, notify: [{{slack: "#a", text: "{text}"}}]'
    assert define(automation(f"{APPROVE}, {LIST}", f'{POST}, when: "{{{{ {condition} }}}}"', tell))


def test_many_branches_beside_each_other_are_judged_at_once(problems: Problems) -> None:
    """Twenty of them are a million ways to go."""
    steps = [OTHER]
    for number in range(20):
        steps.append(f"id: b{number}, after: [other], branch: [{{when: true, to: x{number}}}, {{to: y{number}}}]")
        steps += [f"id: x{number}, {DO}", f"id: y{number}, {DO}"]
    ends = ", ".join(f"x{number}, y{number}" for number in range(20))
    route = ROUTE.replace("id: route", "id: route, after: [other]").replace("{to: other}", "{to: read}")
    (said,) = problems(automation(*steps, route, APPROVE, READ, f"{POST}, after: [approve, read, {ends}]"))
    assert "nobody approves it where" in said
    assert "`route` goes to `read`" in said


def test_a_long_row_of_branches_is_judged_at_once(define: Define) -> None:
    """Each doubles the ways; where they join again nobody has to remember which it was."""
    steps = []
    for number in range(40):
        steps.append(f"id: b{number}, branch: [{{when: true, to: x{number}}}, {{to: y{number}}}]")
        steps += [f"id: x{number}, {DO}", f"id: y{number}, {DO}"]
        steps.append(f"id: j{number}, after: [x{number}, y{number}], {DO}")
    define(automation(*steps, APPROVE, POST))


NOTICE = [{"slack": "#a"}]


@st.composite
def graphs(draw: st.DrawFn) -> list[StepBase]:
    """Steps in any order that is none in a circle: questions, branches and others."""
    ids = [f"s{number}" for number in range(draw(st.integers(2, 8)))]
    steps: list[StepBase] = []
    for position, name in enumerate(ids):
        after = draw(st.lists(st.sampled_from(ids[:position]), unique=True, max_size=3)) if position else []
        kind = draw(st.sampled_from(["plain", "plain", "human", "branch"]))
        later = ids[position + 1 :]
        if kind == "human":
            steps.append(
                HumanStep.model_validate({"id": name, "after": after, "human": {"ask": "?", "assignees": "a"}})
            )
        elif kind == "branch" and later:
            to = st.lists(st.sampled_from(later), unique=True, max_size=2)
            ways = [{"when": "{{ 1 }}", "to": draw(to)}, {"to": draw(to)}]
            steps.append(BranchStep.model_validate({"id": name, "after": after, "branch": ways}))
        else:
            steps.append(NotifyStep.model_validate({"id": name, "after": after, "notify": NOTICE}))
    return steps


@given(graphs())
def test_a_way_past_all_approvals_is_found_if_there_is_one(steps: list[StepBase]) -> None:
    """Compared with playing every choice of every branch."""
    after, goal = waits(steps), steps[-1].id
    guards = {step.id for step in steps[:-1] if isinstance(step, HumanStep)}
    branches = {step.id: step for step in steps if isinstance(step, BranchStep)}
    found = False
    for chosen in product(*(branch.branch for branch in branches.values())):
        taken = _taken(steps, after, dict(zip(branches, chosen, strict=True)))
        found = found or (goal in taken and not guards & _leading(goal, after, taken))
    assert (way_past(goal, after, branches, guards) is not None) == found


def _taken(steps: list[StepBase], after: Mapping[str, Any], chosen: Mapping[str, Any]) -> set[str]:
    taken: set[str] = set()
    for step in steps:
        open_ = [a for a in after[step.id] if a in taken and (a not in chosen or step.id in chosen[a].to)]
        if open_ or not after[step.id]:
            taken.add(step.id)
    return taken


def _leading(goal: str, after: Mapping[str, Any], taken: set[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(after[goal])
    while waiting:
        if (step := waiting.pop()) not in found:
            found.add(step)
            waiting.extend(after[step])
    return found & taken
