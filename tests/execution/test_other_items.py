# ruff: noqa: F811
"""A redrive of one item does another one only where what that was made of is there now and was not, or the reverse."""

from __future__ import annotations

import pytest

from execution.test_behind_a_list import APPROVED, QUESTION, decided, flow
from execution.test_done_again import ASK, HEAD, LIST, House, house, one, work  # noqa: F401
from execution.test_lists_done_again import performed

FIRST = f"  - {{id: ask, {ASK}}}\n"
SINGLE = LIST.replace("list", "single", 1).replace("skill:", "after: [check], skill:")
CHECK = work("check", "steps.list", ", after: [list, ask]")
AGAIN = pytest.mark.parametrize("restarted", [False, True])


def opened(house: House, steps: str, *, restarted: bool) -> tuple[str, int]:
    """A run, and its execution in which things happen: the first one, or one after a restart of all of it."""
    run = house.open(HEAD + FIRST + LIST + CHECK + SINGLE + steps)
    house.site.approve(run, "ask", by="lead")
    epoch = 0
    if restarted:
        house.breaks("check.a.broken", "check.b.broken", "check.c.broken")
        house.performs(run, "list", "check")
        house.ends(run)
        epoch = house.restart(run, "list")
    house.breaks("check.c.broken")
    house.performs(run, "list", "check", epoch=epoch)
    return run, epoch


def redriven(house: House, run: str, names: str, *steps: str) -> list[str]:
    """What is called when `check` of c is redriven, and the list says other names now."""
    house.breaks()
    house.called()
    house.names(names)
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", *steps, epoch=epoch)
    called = house.called()
    house.ends(run, epoch)
    return called


@AGAIN
def test_what_its_own_when_left_out_stays_left_out(house: House, restarted: bool) -> None:
    post = work("post", "steps.list", ", after: [check, single], when: '{{ item in steps.single }}'")
    run, epoch = opened(house, post + work("last"), restarted=restarted)
    house.names("a c")
    performed(house, run, "single", "post", "last", epoch=epoch)
    house.ends(run, epoch)
    assert redriven(house, run, "b c", "single", "post", "last") == ["check c", "post c", "last last"]


@AGAIN
def test_and_nothing_behind_it_is_done_again(house: House, restarted: bool) -> None:
    mid = work("mid", "steps.list", ", after: [check, single], when: '{{ item in steps.single }}'")
    post = work("post", "steps.list", ", after: [mid, ask], irreversible: true")
    run, epoch = opened(house, mid + post, restarted=restarted)
    house.names("b c")
    performed(house, run, "single", "mid", "post", epoch=epoch)
    house.ends(run, epoch)
    assert redriven(house, run, "a b c", "single", "mid", "post") == ["check c", "mid c", "post c"]


@AGAIN
def test_nothing_is_paid_again_about_which_nobody_had_to_be_asked(house: House, restarted: bool) -> None:
    when = "when: '{{ item not in steps.single }}'"
    approve = f"  - {{id: approve, each: '{{{{ steps.list }}}}', after: [check, single], {when}, {ASK}}}\n"
    anyway = "{{ steps.approve[index] or item in steps.single or true }}"
    pay = work("pay", "steps.list", f', after: [approve], irreversible: true, when: "{anyway}"')
    run, epoch = opened(house, approve + pay, restarted=restarted)
    house.names("a b")
    performed(house, run, "single", epoch=epoch)
    house.site.expand(run, "approve", epoch=epoch)
    house.answers(run, "approve", 0, epoch=epoch)
    performed(house, run, "pay", epoch=epoch)
    house.ends(run, epoch)
    house.breaks()
    house.called()
    house.names("c")
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "single", epoch=epoch)
    assert house.site.expand(run, "approve", epoch=epoch) == 0, "it is not due"
    performed(house, run, "pay", epoch=epoch)
    assert [call for call in house.called() if call.startswith("pay")] == ["pay c"]


def test_an_item_that_was_cleared_by_hand_is_no_order_for_what_comes_after_it(one: House) -> None:
    run, _ = opened(one, work("post", "steps.check", ", irreversible: true"), restarted=False)
    performed(one, run, "single", "post")
    one.ends(run)
    epoch = one.begun(run)
    one.site.step(run, "check", 1, epoch=epoch)
    one.ends(run, epoch)
    assert redriven(one, run, "a b c", "single", "post") == ["check c", "post c"]


def test_nor_is_a_list_of_which_something_else_is_left_out_then(one: House) -> None:
    warn = work("warn", "steps.list", ", after: [check, single], when: '{{ item in steps.single }}'")
    run, _ = opened(one, warn + work("pay", "steps.list", ", after: [warn, ask], irreversible: true"), restarted=False)
    one.names("b c")
    performed(one, run, "single", "warn", "pay")
    one.ends(run)
    epoch = one.begun(run)
    one.names("a b c")
    performed(one, run, "single", "warn", epoch=epoch)
    one.ends(run, epoch)
    called = redriven(one, run, "a b c", "single", "warn", "pay")
    assert [call for call in called if call.startswith("pay")] == ["pay c"]


def rounds(house: House, run: str, *rest: str) -> list[str]:
    """What the redrive of c does, which the lead approves, after that of b, which he had rejected."""
    house.breaks("check.b.broken", "check.c.broken")
    house.performs(run, "list", "check")
    decided(house, run, "approved")
    performed(house, run, *rest)
    house.ends(run)
    for number, how, broken in ((1, "rejected", ["check.c.broken"]), (2, "approved", [])):
        house.breaks(*broken)
        house.called()
        epoch = house.redrive(run, check=[number])
        house.performs(run, "check", epoch=epoch)
        decided(house, run, how, epoch)
        performed(house, run, *rest, epoch=epoch)
        house.ends(run, epoch)
    return house.called()


def test_what_its_own_when_left_out_in_its_redrive_is_left_alone_by_that_of_another(house: House) -> None:
    post = work("post", "steps.check", ", after: [check, single], when: '{{ steps.single.approved and index >= 0 }}'")
    run = house.open(flow(QUESTION, work("last", more=", after: [post]"), post))
    assert [call for call in rounds(house, run, "post", "last") if call.startswith("post")] == ["post c"]


@pytest.mark.parametrize(
    ("each", "output"),
    [("steps.more", [None] * 3), ("steps.list", [f"{name}-of-nothing" for name in "abc"])],
)
def test_what_was_made_of_what_is_left_out_now_does_not_stay(house: House, each: str, output: list[str | None]) -> None:
    post = work("post", "steps.check", f", after: [check, single]{APPROVED}")
    more = work(
        "more", "steps.list", ", after: [post], when: '{{ steps.post[index] is none }}'", name="{{ item }}-missing"
    )
    name = "{{ item }}-of-{{ steps.more[index] or 'nothing' }}"
    further = work("further", each, ", after: [more]", name=name)
    last = work("last", more=", after: [further]", name="{{ steps.further | present | join('+') }}")
    run = house.open(flow(QUESTION, more + further + last, post))
    rounds(house, run, "post", "more", "further", "last")
    state = house.site.state(run)
    assert [state.step(step).output for step in ("post", "more", "further")] == [["a", "b", "c"], [None] * 3, output]


def test_what_went_ahead_without_it_behind_a_step_between_is_done_again(house: House) -> None:
    post = work("post", "steps.check", f", after: [check, single]{APPROVED}")
    free = ", after: [post, single], when: '{{ steps.single.approved or true }}'"
    join = work("join", more=free, name="{{ steps.post | present | join('.') }}")
    more = work("more", "steps.list", ", after: [join]", name="{{ item }}-of-{{ steps.join }}")
    last = work("last", more=", after: [more]", name="{{ steps.more | present | join('+') }}")
    run = house.open(flow(QUESTION, join + more + last, post))
    called = rounds(house, run, "post", "join", "more", "last")
    assert [call for call in called if call.startswith("more")] == ["more b-of-a.b.c", "more c-of-a.b.c"]
