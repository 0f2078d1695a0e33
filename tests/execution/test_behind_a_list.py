# ruff: noqa: F811
"""A redrive that leaves a list in part as it is: what stops the rest of it stops what comes behind it as well."""

from __future__ import annotations

import pytest

from execution.test_done_again import ASK, HEAD, LIST, UNDO, House, house, work  # noqa: F401
from execution.test_lists_done_again import performed
from muster.events.model import EventType
from muster.events.payloads.work import StepExpanded
from muster.execution.references import WorkRef

STEPS = ("check", "single", "post")


def pay(more: str = "") -> str:
    return work("last", more=more, name="{{ steps.post | present | join('+') }}")


def flow(single: str, last: str = pay(), post: str = "") -> str:
    """`check` (a list), then `single`, then `post` (the same list, behind both), then what comes behind that."""
    post = post or work("post", "steps.check", ", after: [check, single]")
    return HEAD + LIST + work("check", "steps.list") + single + post + last


QUESTION = f"  - {{id: single, after: [check], {ASK}}}\n"
WORK = work("single", more=", after: [check]")
SINGLES = {"rejected": QUESTION, "fails": WORK, "dies": WORK}


def begun(house: House, source: str, *behind: str) -> str:
    """A run of which `check` failed for b, which a person redrives after everything else was done."""
    run = house.open(source)
    house.breaks("check.b.broken")
    house.performs(run, "list", "check")
    decided(house, run, "approved" if f"single, after: [check], {ASK}" in source else "")
    performed(house, run, "post", *behind)
    house.ends(run)
    assert house.called()[-1].startswith((behind or ("post",))[-1])
    house.breaks()
    return run


def decided(house: House, run: str, how: str, epoch: int = 0) -> None:
    if how in ("approved", "rejected"):
        house.site.do(house._answered(WorkRef(run=run, step="single", epoch=epoch), how == "approved"))
    elif how != "dies":
        house.breaks(*(["single.single.broken"] if how == "fails" else []))
        performed(house, run, "single", epoch=epoch)


def redriven(house: House, run: str, how: str, *behind: str) -> int:
    """The redrive, in which `single` ends as it is said."""
    epoch = house.redrive(run, check=[1])
    house.performs(run, "check", epoch=epoch)
    decided(house, run, how, epoch)
    performed(house, run, "post", *behind, epoch=epoch)
    return epoch


def behind(house: House) -> list[str]:
    """What was called since the last time somebody asked, but for what comes before the list."""
    return [call for call in house.called() if not call.startswith(("check", "single"))]


@pytest.mark.parametrize("undone", [False, True])
@pytest.mark.parametrize("how", SINGLES)
def test_what_stops_the_rest_of_a_list_stops_the_step_behind_it(house: House, how: str, undone: bool) -> None:
    run = begun(house, flow(SINGLES[how], pay(UNDO.replace("{{ item }}", "last")) if undone else pay()), "last")
    epoch = redriven(house, run, how, "last")
    assert behind(house) == []
    state = house.site.state(run)
    assert (state.step("post").output, state.step("last").status) == (["a", None, "c"], "skipped")
    failed = "compensated" if undone else "failed"
    assert house.ends(run, epoch)[0] == ("succeeded" if how == "rejected" else failed)


@pytest.mark.parametrize("how", ["fails", "dies"])
def test_also_one_that_cannot_be_undone(house: House, how: str) -> None:
    source = flow(WORK, pay(", irreversible: true"))
    run = house.open(source.replace("  - {id: check", f"  - {{id: ask, {ASK}}}\n  - {{id: check", 1))
    house.breaks("check.b.broken")
    house.performs(run, "list")
    house.site.approve(run, "ask", by="lead")
    performed(house, run, *STEPS, "last")
    assert house.called()[-1] == "last a+c"
    house.ends(run)
    house.breaks()
    redriven(house, run, how, "last")
    assert behind(house) == []


ALIGNED = {"through it": work("more", "steps.post"), "beside it": work("more", "steps.list", ", after: [post]")}


@pytest.mark.parametrize("how", SINGLES)
@pytest.mark.parametrize("more", ALIGNED)
def test_also_what_comes_after_further_steps_of_the_same_list(house: House, more: str, how: str) -> None:
    run = begun(house, flow(SINGLES[how], ALIGNED[more] + work("last", more=", after: [more]")), "more", "last")
    redriven(house, run, how, "more", "last")
    assert behind(house) == []
    assert (house.site.state(run).step("more").output or [])[::2] == ["a", "c"], "what stays is as it was"


@pytest.mark.parametrize("how", SINGLES)
def test_also_another_list(house: House, how: str) -> None:
    more = work("more", "inputs.names", ", after: [post]")
    run = begun(house, flow(SINGLES[how], more + work("last")), "more", "last")
    redriven(house, run, how, "more", "last")
    assert behind(house) == []


BRANCH = (
    "  - {id: single, after: [check], "
    'branch: [{when: "{{ steps.check | present | length < 3 }}", to: post}, {to: other}]}\n'
)
POST = work("post", "steps.check", ", after: [single]")


@pytest.mark.parametrize("joined", [False, True])
def test_what_is_behind_a_way_that_is_not_taken_any_more_is_done_only_where_the_ways_join(
    house: House, joined: bool
) -> None:
    last = work("last", more=f", after: [post{', other' * joined}]")
    run = house.open(flow(BRANCH, work("other", "inputs.names", ", after: [single]") + last, POST))
    house.breaks("check.b.broken")
    house.performs(run, "list", *STEPS, "other", "last")
    assert behind(house) == ["post a", "post c", "last last"]
    house.ends(run)
    house.breaks()
    epoch = house.redrive(run, check=[1])
    house.performs(run, *STEPS, "other", "last", epoch=epoch)
    assert behind(house) == ["other a", "other b", *["last last"] * joined]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_a_step_whose_when_names_the_question_hears_of_the_rejection(house: House) -> None:
    tell = work("last", more=", after: [post], when: '{{ not steps.single }}'")
    run = begun(house, flow(QUESTION, tell))
    redriven(house, run, "rejected", "last")
    assert behind(house) == ["last last"]


NAMED = {"the question": "not steps.single", "the items": "steps.approve | select | length == 0"}


@pytest.mark.parametrize("irreversible", ["", ", irreversible: true"])
@pytest.mark.parametrize("named", NAMED)
def test_a_rejection_and_earlier_ones_of_items_behind_it_all_count(house: House, named: str, irreversible: str) -> None:
    """A step whose `when` decides about one of them goes ahead in spite of that one only."""
    approve = f"  - {{id: approve, each: '{{{{ steps.check }}}}', after: [check, single], {ASK}}}\n"
    tell = work("last", more=f", after: [approve], when: '{{{{ {NAMED[named]} }}}}'{irreversible}")
    run = house.open(HEAD + LIST + work("check", "steps.list") + QUESTION + approve + tell)
    house.breaks("check.b.broken")
    house.performs(run, "list", "check")
    decided(house, run, "approved")
    assert house.site.expand(run, "approve") == 2
    house.answers(run, "approve", 0, 1, approved=False)
    house.performs(run, "last")
    house.ends(run)
    house.called()
    house.breaks()
    epoch = house.redrive(run, check=[1])
    house.performs(run, "check", epoch=epoch)
    decided(house, run, "rejected", epoch)
    house.site.expand(run, "approve", epoch=epoch)
    house.performs(run, "last", epoch=epoch)
    assert behind(house) == []


@pytest.mark.parametrize("how", ["rejected", "other way"])
def test_items_that_nobody_was_asked_about_then_go_ahead_where_the_step_does(house: House, how: str) -> None:
    """As they do where the questions were left out as a whole."""
    first = QUESTION if how == "rejected" else BRANCH.replace("to: post", "to: approve")
    other = "" if how == "rejected" else work("other", "inputs.names", ", after: [single]")
    approve = f"  - {{id: approve, each: '{{{{ steps.check }}}}', after: [single], {ASK}}}\n"
    more = ", after: [approve], when: '{{ not steps.single }}'" if how == "rejected" else ", after: [approve, other]"
    run = house.open(
        HEAD + LIST + work("check", "steps.list") + first + approve + other + work("post", "steps.check", more)
    )
    house.breaks("check.b.broken")
    house.performs(run, "list", "check")
    decided(house, run, "approved" if how == "rejected" else "")
    assert house.site.expand(run, "approve") == 2
    house.answers(run, "approve", 0, 1)
    house.performs(run, *(["other"] if other else []), "post")
    house.ends(run)
    house.called()
    house.breaks()
    epoch = house.redrive(run, check=[1])
    house.performs(run, "check", epoch=epoch)
    decided(house, run, "rejected" if how == "rejected" else "", epoch)
    house.site.expand(run, "approve", epoch=epoch)
    house.performs(run, *(["other"] if other else []), "post", epoch=epoch)
    assert [call for call in house.called() if call.startswith("post")] == (
        ["post a", "post b", "post c"] if how == "rejected" else ["post b"]
    )


@pytest.mark.parametrize("how", ["rejected", "fails"])
def test_a_restart_behind_it_is_stopped_too_until_what_stopped_it_is_done_again(house: House, how: str) -> None:
    run = begun(house, flow(SINGLES[how]), "last")
    house.ends(run, redriven(house, run, how, "last"))
    house.called()
    house.breaks()
    epoch = house.restart(run, "last")
    performed(house, run, "last", epoch=epoch)
    house.ends(run, epoch)
    assert behind(house) == []
    epoch = house.restart(run, "single")
    decided(house, run, "approved" if how == "rejected" else "", epoch)
    performed(house, run, "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.called()[-1] == "last a+b+c"


def test_the_next_redrive_that_gets_through_goes_on_behind_it(house: House) -> None:
    run = begun(house, flow(WORK), "last")
    house.ends(run, redriven(house, run, "fails", "last"))
    house.breaks()
    house.called()
    epoch = house.redrive(run, single=[None])
    performed(house, run, "single", "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.called()[-1] == "last a+b+c"


@pytest.mark.parametrize("how", ["rejected", "fails", "when"])
def test_the_redrive_of_another_item_does_what_was_stopped_before(house: House, how: str) -> None:
    more = ', when: "{{ steps.single.approved }}"' if how == "when" else ""
    post = work("post", "steps.check", f", after: [check, single]{more}")
    run = house.open(flow(WORK if how == "fails" else QUESTION, post=post))
    house.breaks("check.b.broken", "check.c.broken")
    house.performs(run, "list", "check")
    decided(house, run, "" if how == "fails" else "approved")
    performed(house, run, "post", "last")
    house.ends(run)
    house.breaks("check.c.broken")
    epoch = house.redrive(run, check=[1])
    house.performs(run, "check", epoch=epoch)
    decided(house, run, "fails" if how == "fails" else "rejected", epoch)
    performed(house, run, "post", "last", epoch=epoch)
    house.ends(run, epoch)
    house.breaks()
    house.called()
    epoch = house.redrive(run, check=[2])
    house.performs(run, "check", epoch=epoch)
    decided(house, run, "" if how == "fails" else "approved", epoch)
    performed(house, run, "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert behind(house) == ["post b", "post c", "last a+b+c"]


MORE = work("more", "steps.list", ", after: [post]", name="{{ item }}-of-{{ steps.post[index] or 'nothing' }}")
BY_ITSELF = MORE.replace("after: [post]", "after: [post, single], when: '{{ steps.single.approved or true }}'")
APPROVED = ', when: "{{ steps.single.approved }}"'


@pytest.mark.parametrize(("when", "more"), [(APPROVED, MORE), ("", BY_ITSELF)], ids=["skipped by itself", "stopped"])
def test_what_went_ahead_without_it_is_done_again_with_it(house: House, when: str, more: str) -> None:
    """A further step of the same list, made from what the redrive before had left out."""
    post = work("post", "steps.check", f", after: [check, single]{when}")
    run = house.open(flow(QUESTION, more + work("last", more=", after: [more]"), post))
    house.breaks("check.b.broken", "check.c.broken")
    house.performs(run, "list", "check")
    decided(house, run, "approved")
    performed(house, run, "post", "more", "last")
    house.ends(run)
    for number, how, broken in ((1, "rejected", ["check.c.broken"]), (2, "approved", [])):
        house.breaks(*broken)
        house.called()
        epoch = house.redrive(run, check=[number])
        house.performs(run, "check", epoch=epoch)
        decided(house, run, how, epoch)
        performed(house, run, "post", "more", "last", epoch=epoch)
        status, _ = house.ends(run, epoch)
        assert status == ("failed" if broken else "succeeded")
    assert behind(house) == ["post b", "post c", "more b-of-b", "more c-of-c", "last last"]
    assert house.site.state(run).step("more").output == ["a-of-a", "b-of-b", "c-of-c"]


def test_a_question_about_what_was_left_out_is_asked_again(house: House) -> None:
    post = work("post", "steps.check", f", after: [check, single]{APPROVED}")
    ask = "human: {ask: 'Pay {{ item }} by {{ steps.post[index] or \"nothing\" }}?', assignees: [lead]}"
    step = f"  - {{id: approve, each: '{{{{ steps.list }}}}', after: [post], {ask}}}\n"
    pay = work("pay", "steps.list", ", after: [approve]", name="{{ item }}-by-{{ steps.post[index] or 'nothing' }}")
    run = house.open(flow(QUESTION, step + pay, post))
    house.breaks("check.b.broken", "check.c.broken")
    house.performs(run, "list", "check")
    epoch = 0
    for number, how, broken in ((0, "approved", ["b", "c"]), (1, "rejected", ["c"]), (2, "approved", [])):
        if number:
            house.breaks(*(f"check.{name}.broken" for name in broken))
            epoch = house.redrive(run, check=[number])
            house.performs(run, "check", epoch=epoch)
        decided(house, run, how, epoch)
        performed(house, run, "post", epoch=epoch)
        house.site.expand(run, "approve", epoch=epoch)
        house.answers(run, "approve", *({0: (0, 1, 2), 1: (1,), 2: (1, 2)}[number]), epoch=epoch)
        performed(house, run, "pay", epoch=epoch)
        status, _ = house.ends(run, epoch)
    assert status == "succeeded"
    assert house.called()[-2:] == ["pay b-by-b", "pay c-by-c"]


def test_a_redrive_of_something_else_does_not_go_on_behind_it(house: House) -> None:
    """The list is none of what that does again, and still holds what stops it."""
    ways = work("apart", "inputs.names", ", after: []") + work("last", more=", after: [post, apart]")
    run = house.open(flow(QUESTION, ways))
    house.breaks("check.b.broken", "apart.a.broken")
    house.performs(run, "list", "check")
    decided(house, run, "approved")
    performed(house, run, "post", "apart", "last")
    house.ends(run)
    house.called()
    house.ends(run, redriven(house, run, "rejected", "last"))
    house.breaks()
    epoch = house.redrive(run, apart=[0])
    performed(house, run, "apart", "last", epoch=epoch)
    assert behind(house) == ["apart a"]


def test_a_list_of_which_nothing_has_to_be_done_any_more_stops_nothing(house: House) -> None:
    """It was once left out as a whole, for a rejection; laid out again, its own `when` has no work for it."""
    post = work("post", "steps.check", ", after: [single], when: \"{{ item == 'nobody' }}\"")
    run = house.open(flow(QUESTION, work("last"), post))
    house.performs(run, "list", "check")
    decided(house, run, "rejected")
    performed(house, run, "post", "last")
    house.ends(run)
    house.called()
    epoch = house.restart(run, "single")
    decided(house, run, "approved", epoch)
    performed(house, run, "post", "last", epoch=epoch)
    assert behind(house) == ["last last"]


def test_only_a_layout_that_was_held_back_says_so(house: House) -> None:
    run = begun(house, flow(QUESTION), "last")
    redriven(house, run, "rejected", "last")
    layouts = list(house.site.services.log.read(run, types=[EventType.STEP_EXPANDED]))
    assert [StepExpanded.of(event).held for event in layouts] == [None, None, None, "rejected"]
    assert ["held" in event.data for event in layouts] == [False, False, False, True]
