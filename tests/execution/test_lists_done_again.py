# ruff: noqa: F811
"""Lists in later executions: what stays as it is, what nobody was asked about, what changed places."""

from __future__ import annotations

from contextlib import suppress

import pytest

from execution.test_done_again import ASK, HEAD, LIST, UNDO, House, house, one, work  # noqa: F401
from muster.errors import PermanentError
from muster.events.model import EventType, NewEvent
from muster.execution import performing
from muster.execution.fanout import load_fan_out
from muster.execution.references import WorkRef
from muster.operations.redoing import order, plan_discard, plan_redrive
from muster.saga.resuming import resume

SKILLS = '''
from muster.skills import skill

@skill("e.present", lane="async")
async def present(names: list[str | None]) -> list[str]:
    """Those that came through."""
    return [name for name in names if name is not None]
'''
PRESENT = "  - {id: present, skill: e.present, with: {names: '{{ steps.check }}'}}\n"
UNPOST = UNDO.replace("{{ item }}", "{{ output }}/{{ item }}")
FLAG = HEAD.replace("inputs: {", "inputs: {flag: {type: boolean, default: false}, ")


def performed(house: House, run: str, *steps: str, epoch: int = 0) -> None:
    """Each step; one that cannot be laid out has failed, which is in the log."""
    for step in steps:
        with suppress(PermanentError):
            house.performs(run, step, epoch=epoch)


def dies_before_its_layout(house: House, run: str, step: str, epoch: int) -> None:
    """The process that was to lay out a list died, and Airflow failed its task."""
    tasks: dict[str, str | None] = {step if house.pack == "all" else f"{step}.items": "failed"}
    house.site.unwind(run, tasks, epoch=epoch)
    house.site.close(run, tasks, epoch=epoch)


def test_a_list_that_failed_as_a_whole_is_laid_out_anew_in_a_redrive(house: House) -> None:
    run = house.open(HEAD + LIST + work("post", "steps.list[3:] or steps.list[5]") + work("last"))
    performed(house, run, "list", "post", "last")
    assert house.ends(run)[0] == "failed"
    assert (house.dead(run), house.called()) == (["post"], [])
    epoch = house.redrive(run, post=[None])
    performed(house, run, "post", "last", epoch=epoch)
    assert house.ends(run, epoch)[0] == "failed"
    assert (house.dead(run), house.called()) == (["post"], [])
    house.names("a b c d")
    epoch = house.restart(run, "list")
    performed(house, run, "list", "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.called() == ["post d", "last last"]


def test_so_is_one_that_had_been_laid_out_earlier(house: House) -> None:
    run = house.open(HEAD + LIST + work("post", "steps.list", ", when: '{{ steps.list[1] != item }}'") + work("last"))
    performed(house, run, "list", "post", "last")
    assert house.ends(run) == ("succeeded", None)
    house.names("a")
    epoch = house.restart(run, "list")
    performed(house, run, "list", "post", "last", epoch=epoch)
    assert house.ends(run, epoch)[0] == "failed"
    house.called()
    epoch = house.redrive(run, post=[None])
    performed(house, run, "post", "last", epoch=epoch)
    assert house.ends(run, epoch)[0] == "failed"
    assert (house.dead(run), house.called()) == (["post"], [])


def test_nothing_goes_ahead_when_the_question_about_it_could_not_be_laid_out(house: House) -> None:
    when = "when: '{{ steps.list[5] != item }}'"
    approve = f"  - {{id: approve, each: '{{{{ inputs.names }}}}', {when}, {ASK}}}\n"
    run = house.open(HEAD + LIST + approve + work("post", "inputs.names", ", after: [approve]"))
    performed(house, run, "list", "approve", "post")
    assert (house.ends(run)[0], house.dead(run)) == ("failed", ["approve"])
    epoch = house.redrive(run, approve=[None])
    performed(house, run, "approve", "post", epoch=epoch)
    assert (house.ends(run, epoch)[0], house.called()) == ("failed", [])


@pytest.mark.parametrize("when", ["{{ inputs.flag }}", "{{ item == 'nobody' }}", "{{ item == 'a' }}"])
def test_no_item_goes_ahead_that_nobody_was_asked_about(house: House, when: str) -> None:
    run = house.open(
        FLAG
        + work("check", "inputs.names", f', when: "{when}"')
        + f"  - {{id: approve, each: '{{{{ steps.check }}}}', {ASK}}}\n"
        + work("post", "inputs.names", ", after: [approve], irreversible: true")
    )
    house.performs(run, "check")
    asked = house.site.expand(run, "approve")
    house.answers(run, "approve", *range(asked))
    house.performs(run, "post")
    assert [call for call in house.called() if call.startswith("post")] == ["post a"][:asked]
    assert house.ends(run) == ("succeeded", None)
    reasons = {index: item.reason for index, item in house.site.state(run).step("post").items.items() if item.reason}
    assert reasons == dict.fromkeys(range(asked, 2), "not_asked")


def test_nor_one_that_is_new_since_the_questions_were_asked(house: House) -> None:
    run = house.open(
        HEAD
        + LIST
        + f"  - {{id: approve, each: '{{{{ steps.list }}}}', {ASK}}}\n"
        + work("post", "steps.list", ", after: [approve]")
    )
    house.performs(run, "list")
    house.site.expand(run, "approve")
    house.answers(run, "approve", 0, 1, 2)
    house.performs(run, "post")
    house.ends(run)
    house.called()
    house.names("a b c d")
    epoch = house.begun(run)
    house.performs(run, "list", "post", epoch=epoch)
    assert house.called() == ["post a", "post b", "post c"]


@pytest.mark.parametrize("when", ["when: '{{ inputs.flag }}', ", "when: \"{{ item == 'nobody' }}\", "])
def test_an_item_that_nobody_had_to_be_asked_about_goes_ahead(house: House, when: str) -> None:
    approve = f"  - {{id: approve, each: '{{{{ inputs.names }}}}', {when}{ASK}}}\n"
    run = house.open(FLAG + approve + work("post", "inputs.names", ", after: [approve]"))
    assert house.site.expand(run, "approve") == 0
    house.performs(run, "post")
    assert house.called() == ["post a", "post b"]


def test_a_redrive_leaves_other_items_as_they_are_whatever_a_when_says_now(house: House) -> None:
    run = house.open(
        HEAD
        + LIST
        + work("check", "steps.list")
        + LIST.replace("list", "single", 1).replace("}}", "}}", 1).replace("skill:", "after: [check], skill:")
        + work("post", "steps.list", ", after: [single], when: '{{ item in steps.single }}'")
        + work("last")
    )
    house.breaks("check.c.broken")
    house.names("a b c")
    house.performs(run, "list", "check")
    house.names("a c")
    performed(house, run, "single", "post", "last")
    assert house.ends(run)[0] == "failed"
    house.called()
    house.breaks()
    house.names("b c")
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "single", "post", "last", epoch=epoch)
    assert house.called() == ["check c", "post c", "last last"]
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.rows(run, "post") == [(-1, "succeeded"), (0, "succeeded"), (1, "skipped"), (2, "succeeded")]
    assert house.site.state(run).step("post").output == ["a", None, "c"]


@pytest.mark.parametrize("approved", [True, False])
def test_a_redrive_asks_about_what_is_done_again_and_about_nothing_else(house: House, approved: bool) -> None:
    run = house.open(
        HEAD
        + LIST
        + work("check", "steps.list")
        + f"  - {{id: approve, after: [check], {ASK}}}\n"
        + work("post", "steps.list", ", after: [approve]")
    )
    house.breaks("check.c.broken", "post.c.broken")
    house.performs(run, "list", "check")
    house.site.approve(run, "approve", by="lead")
    house.breaks("post.c.broken")
    house.performs(run, "post")
    assert house.ends(run)[0] == "failed"
    house.called()
    house.breaks()
    epoch = house.redrive(run, check=[2], post=[2])
    house.performs(run, "check", epoch=epoch)
    house.site.do(house._answered(WorkRef(run=run, step="approve", epoch=epoch), approved))
    house.performs(run, "post", epoch=epoch)
    assert house.called() == ["check c", "post c"] if approved else ["check c"]
    assert house.site.state(run).step("post").output == ["a", "b", "c" if approved else None]
    rows = house.rows(run, "post")
    assert rows == [(-1, "succeeded"), (0, "succeeded"), (1, "succeeded"), (2, "succeeded" if approved else "skipped")]
    assert house.ends(run, epoch) == ("succeeded", None)


@pytest.mark.parametrize("now", ["b c", "a c d"])
@pytest.mark.parametrize("through", ["", "check"])
def test_an_item_is_not_done_where_another_one_stands_and_all_is_undone(house: House, now: str, through: str) -> None:
    between = work("check", "steps.list") if through else ""
    run = house.open(HEAD + LIST + between + work("post", f"steps.{through or 'list'}", UNPOST) + work("last"))
    steps = ["list", *([through] if through else []), "post", "last"]
    performed(house, run, *steps)
    assert house.ends(run) == ("succeeded", None)
    house.called()
    house.names(now)
    epoch = house.restart(run, "list")
    performed(house, run, *steps, epoch=epoch)
    status, reason = house.ends(run, epoch)
    assert (status, "was done for another item of its list" in (reason or "")) == ("compensated", True)
    assert sorted(call for call in house.called() if not call.startswith("check")) == [
        "undo a/a",
        "undo b/b",
        "undo c/c",
    ]
    epoch = house.restart(run, "list")
    performed(house, run, *steps, epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.site.state(run).step("post").output == now.split()


def test_nor_where_a_redrive_moves_a_filtered_list(house: House) -> None:
    house.site.skills("e", SKILLS)
    check, post = work("check", "steps.list"), work("post", "steps.present", UNPOST)
    run = house.open(HEAD + LIST + check + PRESENT + post + work("last"))
    house.breaks("check.b.broken")
    performed(house, run, "list", "check")
    house.site.step(run, "present")
    performed(house, run, "post", "last")
    house.ends(run)
    house.called()
    house.breaks()
    epoch = house.redrive(run, check=[1])
    performed(house, run, "check", epoch=epoch)
    house.site.step(run, "present", epoch=epoch)
    performed(house, run, "post", "last", epoch=epoch)
    assert house.ends(run, epoch)[0] == "compensated"
    assert sorted(house.called()) == ["check b", "undo a/a", "undo c/c"]


def test_what_is_only_read_is_read_again_for_another_list(house: House) -> None:
    run = house.open(HEAD + LIST + work("post", "steps.list") + work("last"))
    performed(house, run, "list", "post", "last")
    house.ends(run)
    house.called()
    house.names("c b")
    epoch = house.restart(run, "list")
    performed(house, run, "list", "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.called() == ["post b", "post c", "last last"]


def test_an_item_that_failed_and_is_irreversible_may_be_corrected(house: House) -> None:
    run = house.open(HEAD + LIST + f"  - {{id: ask, {ASK}}}\n" + work("post", "steps.list", ", irreversible: true"))
    house.breaks("post.b.broken")
    performed(house, run, "list")
    house.site.approve(run, "ask", by="lead")
    performed(house, run, "post")
    assert house.ends(run)[0] == "failed"
    house.called()
    house.names("a d c")
    epoch = house.restart(run, "list")
    house.performs(run, "list", epoch=epoch)
    house.site.do(house._answered(WorkRef(run=run, step="ask", epoch=epoch), True))
    performed(house, run, "post", epoch=epoch)
    assert house.called() == ["post a", "post c", "post d"]
    assert house.ends(run, epoch) == ("succeeded", None)


@pytest.mark.parametrize("kept", ["a", "nobody"])
def test_the_output_of_a_list_is_a_list_also_where_every_item_was_left_out(one: House, kept: str) -> None:
    run = one.open(
        HEAD
        + work("check", "inputs.names", f", when: \"{{{{ item == '{kept}' }}}}\"")
        + work("post", "inputs.names", ", after: [check]", name="{{ steps.check[index] or item }}")
    )
    one.performs(run, "check", "post")
    assert one.ends(run) == ("succeeded", None)
    assert one.site.state(run).step("check").output == ["a" if kept == "a" else None, None]


def begins_and_dies(house: House, run: str, step: str, index: int, epoch: int = 0) -> dict[str, str | None]:
    """The process dies after an item began, and after the others had ended; what Airflow says of its tasks."""

    async def dies() -> None:
        ref = WorkRef(run=run, step=step, slot=None if house.pack == "all" else 0, epoch=epoch)
        fan_out = await load_fan_out(house.site.services, ref)
        await performing._start(house.site.services, performing._work_item(fan_out, ref, index))
        for other in set(fan_out.indices) - {index, *fan_out.kept}:
            await performing._perform_item(house.site.services, performing._work_item(fan_out, ref, other))

    house.site.do(dies())
    return {step if house.pack == "all" else f"{step}_0": "failed"}


@pytest.mark.parametrize("final", ["", ", irreversible: true"])
@pytest.mark.parametrize("what", ["rejected", "failed"])
def test_an_item_that_died_goes_ahead_in_a_redrive_only_as_any_other(house: House, final: str, what: str) -> None:
    run = house.open(
        HEAD
        + LIST
        + work("check", "steps.list")
        + work("single", more=", after: [check]")
        + f"  - {{id: approve, after: [check], {ASK}}}\n"
        + work("post", "steps.list", ", after: [approve, single]" + final)
    )
    house.breaks("check.c.broken")
    house.performs(run, "list", "check", "single")
    house.site.approve(run, "approve", by="lead")
    tasks = begins_and_dies(house, run, "post", 0)
    house.site.unwind(run, tasks)
    house.site.close(run, tasks)
    house.called()
    house.breaks(*(["single.single.broken"] if what == "failed" else []))
    epoch = house.redrive(run, check=[2])
    house.performs(run, "check", "single", epoch=epoch)
    house.site.do(house._answered(WorkRef(run=run, step="approve", epoch=epoch), what != "rejected"))
    performed(house, run, "post", epoch=epoch)
    assert [call for call in house.called() if call.startswith("post")] == []


@pytest.mark.parametrize("undone", [False, True])
def test_a_list_that_was_left_out_as_a_whole_since_is_laid_out_whole_in_a_redrive(house: House, undone: bool) -> None:
    run = house.open(
        HEAD
        + LIST
        + work("check", "steps.list")
        + work("single", more=", after: [check]")
        + work("post", "steps.list", UNDO + ", after: [single]")
        + work("last")
    )
    house.breaks(*(["last.last.broken"] if undone else []))
    house.performs(run, "list", "check", "single", "post", "last")
    house.ends(run)
    house.breaks("check.c.broken", "single.single.broken")
    epoch = house.restart(run, "check")
    performed(house, run, "check", "single", "post", "last", epoch=epoch)
    house.ends(run, epoch)
    house.called()
    if not undone:
        return  # What had been posted was undone now; a redrive is refused.
    house.breaks()
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "single", "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.site.state(run).step("post").output == ["a", "b", "c"]
    assert house.called() == ["check c", "single single", "post a", "post b", "post c", "last last"]


def test_what_a_restart_owed_is_done_by_a_redrive_too(house: House) -> None:
    run = house.open(HEAD + LIST + work("check", "steps.list") + work("post", "steps.check"))
    performed(house, run, "list", "check", "post")
    house.ends(run)
    house.breaks("check.c.broken")
    epoch = house.restart(run, "check")
    performed(house, run, "check", epoch=epoch)
    dies_before_its_layout(house, run, "post", epoch)
    house.called()
    house.breaks()
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "post", epoch=epoch)
    assert house.called() == ["check c", "post a", "post b", "post c"]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_a_redrive_that_is_done_again_does_nothing_else_again(house: House) -> None:
    """Its execution died before the list was laid out: that it was to be done is no word about the other items."""
    run = house.open(HEAD + LIST + work("check", "steps.list") + work("post", "steps.list"))
    house.breaks("check.c.broken")
    performed(house, run, "list", "check", "post")
    house.ends(run)
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", epoch=epoch)
    dies_before_its_layout(house, run, "post", epoch)
    house.called()
    house.breaks()
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "post", epoch=epoch)
    assert house.called() == ["check c", "post c"]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_an_item_that_is_cleared_by_hand_is_not_done_in_the_place_of_another(one: House) -> None:
    run = one.open(HEAD + LIST + work("post", "steps.list", UNPOST) + work("last"))
    one.performs(run, "list", "post", "last")
    one.ends(run)
    one.called()
    one.names("x b c")
    one.breaks("last.last.broken")
    epoch = one.begun(run)
    one.performs(run, "list", epoch=epoch)
    assert "another item" in (one.site.step(run, "post", 0, epoch=epoch).reason or "")
    one.performs(run, "last", epoch=epoch)
    assert one.ends(run, epoch)[0] == "compensated"
    assert sorted(call for call in one.called() if call.startswith(("post", "undo"))) == [
        "undo a/a",
        "undo b/b",
        "undo c/c",
    ]


def test_one_that_is_not_in_the_list_any_more_is_left_as_it_was(one: House) -> None:
    run = one.open(HEAD + LIST + work("post", "steps.list") + work("last"))
    one.performs(run, "list", "post", "last")
    one.ends(run)
    one.names("a")
    epoch = one.begun(run)
    one.performs(run, "list", epoch=epoch)
    assert "is 1 long now" in (one.site.step(run, "post", 2, epoch=epoch).reason or "")
    assert one.ends(run, epoch) == ("succeeded", None)


def undone_in_two_goes(house: House, *, by_hand: bool = False) -> str:
    """A run with two ways, of which both were undone: the second after a person had it go on."""
    single = UNDO.replace("{{ item }}", "single")
    run = house.open(
        HEAD
        + work("b", "inputs.names", UNDO)
        + work("single", more=single + ", after: []")
        + work("last", more=", after: [single]")
    )
    house.breaks("last.last.broken", *([] if by_hand else ["undo.single.broken"]))
    house.performs(run, "b", "single", "last")
    assert house.ends(run)[0] == ("compensated" if by_hand else "stuck")
    if by_hand:
        epoch = house.begun(run)
        house.performs(run, "single", "last", epoch=epoch)
    else:
        house.breaks()
        resume(house.site.services.log, run, by="admin")
        epoch = house.begun(run)
    assert house.ends(run, epoch)[0] == "compensated"
    house.breaks()
    house.called()
    return run


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_list_that_was_undone_on_its_own_way_is_done_again_with_the_rest(house: House, by_hand: bool) -> None:
    run = undone_in_two_goes(house, by_hand=by_hand)
    epoch = house.restart(run, "single")
    house.performs(run, "b", "single", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert sorted(house.called()) == ["b a", "b b", "last last", "single single"]


def test_a_run_of_which_something_is_undone_has_not_succeeded(house: House) -> None:
    """Also where an order of an earlier version did not take it along."""
    run = undone_in_two_goes(house)
    house.site.services.log.append(run, [NewEvent(type=EventType.RUN_RESTARTED, data={"from": "single"}, actor="ann")])
    epoch = house.begun(run)
    house.performs(run, "single", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("failed", "step b was undone, and has not been done since")


@pytest.mark.parametrize("more", [UNDO + ", after: [approve]", ", after: [approve], irreversible: true"])
def test_a_list_that_could_not_be_laid_out_has_done_nothing(house: House, more: str) -> None:
    run = house.open(
        HEAD
        + LIST
        + f"  - {{id: approve, after: [list], {ASK}}}\n"
        + work("single", more=UNDO.replace("{{ item }}", "single") + ", after: [list]")
        + work("post", "steps.list[5]", more)
        + work("last", more=", after: [post, single]")
    )
    house.performs(run, "list")
    house.site.approve(run, "approve", by="lead")
    performed(house, run, "single", "post", "last")
    assert house.ends(run)[0] == "compensated"
    assert house.called() == ["single single", "undo single"]


@pytest.mark.parametrize("how", ["a step between failed", "the process died"])
def test_what_a_redrive_did_not_come_to_is_done_by_the_next(house: House, how: str) -> None:
    run = house.open(
        HEAD
        + LIST
        + work("check", "steps.list")
        + work("single", more=", after: [check]")
        + work("post", "steps.check", ", after: [single, check]")
    )
    house.breaks("check.b.broken", "check.c.broken")
    performed(house, run, "list", "check", "single", "post")
    house.ends(run)
    house.breaks("check.b.broken", *(["single.single.broken"] if how == "a step between failed" else []))
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "single", epoch=epoch)
    if how == "the process died":
        dies_before_its_layout(house, run, "post", epoch)
    else:
        performed(house, run, "post", epoch=epoch)
        house.ends(run, epoch)
    house.breaks()
    house.called()
    epoch = house.redrive(run, check=[1])
    performed(house, run, "check", "single", "post", epoch=epoch)
    assert house.called() == ["check b", "single single", "post b", "post c"]
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.site.state(run).step("post").output == ["a", "b", "c"]


def test_of_several_items_that_are_cleared_by_hand_each_is_looked_at(one: House) -> None:
    run = one.open(HEAD + LIST + work("post", "steps.list", UNPOST) + work("last"))
    one.performs(run, "list", "post", "last")
    one.ends(run)
    one.called()
    one.names("a x c")
    epoch = one.begun(run)
    one.performs(run, "list", epoch=epoch)
    assert one.site.step(run, "post", 0, epoch=epoch).status == "succeeded"
    assert "another item" in (one.site.step(run, "post", 1, epoch=epoch).reason or "")
    assert one.ends(run, epoch)[0] == "compensated"
    assert sorted(one.called()) == ["post a", "undo a/a", "undo b/b", "undo c/c"]


@pytest.mark.parametrize("names", ["a b d", "a"])
def test_an_item_that_is_redriven_is_the_one_that_failed(house: House, names: str) -> None:
    run = house.open(HEAD + LIST + work("post", "steps.list", UNPOST) + work("last"))
    house.breaks("post.c.broken")
    performed(house, run, "list", "post", "last")
    house.ends(run)
    house.names(names)
    epoch = house.begun(run)
    performed(house, run, "list", epoch=epoch)
    house.ends(run, epoch)
    house.breaks()
    house.called()
    epoch = house.redrive(run, post=[2])
    performed(house, run, "post", "last", epoch=epoch)
    assert house.ends(run, epoch)[0] == "compensated"
    assert sorted(call for call in house.called() if call.startswith("post")) == []


@pytest.mark.parametrize("by", ["this version", "an earlier one"])
def test_what_a_redrive_of_another_list_owed_is_done_by_the_next(house: House, by: str) -> None:
    run = house.open(
        HEAD
        + LIST
        + work("other", "inputs.names")
        + work("check", "steps.list", ", after: [list]")
        + work("post", "steps.check", ", after: [other, check]")
    )
    house.breaks("other.a.broken", "check.c.broken")
    performed(house, run, "list", "other", "check", "post")
    house.ends(run)
    house.breaks("check.c.broken")
    if by == "this version":
        epoch = house.redrive(run, other=[0])
    else:
        old = NewEvent(type=EventType.DEAD_LETTER_REDRIVEN, data={"pieces": {"other": [0]}}, actor="ann")
        house.site.services.log.append(run, [old])
        epoch = house.begun(run)
    performed(house, run, "other", epoch=epoch)
    dies_before_its_layout(house, run, "post", epoch)
    house.breaks()
    house.called()
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "post", epoch=epoch)
    assert house.called() == ["check c", "post a", "post b", "post c"]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_an_item_of_a_list_that_a_restart_owed_is_not_redriven_alone(house: House) -> None:
    run = house.open(HEAD + LIST + work("check", "steps.list") + work("post", "steps.check"))
    house.breaks("check.c.broken", "post.b.broken")
    performed(house, run, "list", "check", "post")
    house.ends(run)
    house.breaks()
    epoch = house.restart(run, "list")
    performed(house, run, "list", "check", epoch=epoch)
    dies_before_its_layout(house, run, "post", epoch)
    with pytest.raises(PermanentError, match="--from post"):
        house.redrive(run, post=[1])


def test_an_item_of_the_list_that_has_no_outcome_is_done_with_the_one_that_is_named(house: House) -> None:
    """It died in an earlier redrive: Airflow is told to perform it as well."""
    run = house.open(HEAD + LIST + work("check", "steps.list") + work("post", "steps.list", ", after: [check]"))
    house.breaks("check.b.broken", "check.c.broken")
    performed(house, run, "list", "check", "post")
    house.ends(run)
    epoch = house.redrive(run, check=[2])
    tasks = begins_and_dies(house, run, "check", 2, epoch)
    house.site.unwind(run, tasks, epoch=epoch)
    house.site.close(run, tasks, epoch=epoch)
    house.breaks()
    house.called()
    plan = plan_redrive(house.site.services.log, house.site.services.definitions, run, {"check": [1]}, by="admin")
    [order] = plan.events
    assert order.data["again"] == {"check": [1, 2], "post": [1, 2]}
    assert (plan.steps, plan.slots) == (("check", "post"), ()), "the tasks of one slot are not enough"
    epoch = house.redrive(run, check=[1])
    performed(house, run, "check", "post", epoch=epoch)
    assert sorted(house.called()) == ["check b", "check c", "post b", "post c"]
    assert house.ends(run, epoch) == ("succeeded", None)


THREE = FLAG.replace("[a, b]", "[a, b, c]")


def ordered(house: House, run: str) -> dict[str, list[int] | None]:
    """What the last order has done again."""
    *_, order = house.site.services.log.read(run, types=["dead_letter.redriven"])
    again: dict[str, list[int] | None] = order.data["again"]
    return again


def test_a_list_between_that_was_left_out_does_not_widen_a_redrive(house: House) -> None:
    run = house.open(
        THREE
        + work("check", "inputs.names")
        + work("extra", "inputs.names", ", after: [check], when: '{{ inputs.flag }}'")
        + f"  - {{id: approve, after: [extra], {ASK}}}\n"
        + work("pay", "inputs.names", ", after: [extra, approve], irreversible: true")
    )
    house.breaks("check.c.broken", "pay.c.broken")
    performed(house, run, "check", "extra")
    house.site.approve(run, "approve", by="lead")
    performed(house, run, "pay")
    house.ends(run)
    house.breaks()
    house.called()
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "extra", epoch=epoch)
    house.site.do(house._answered(WorkRef(run=run, step="approve", epoch=epoch), True))
    performed(house, run, "pay", epoch=epoch)
    assert house.called() == ["check c", "pay c"]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_nor_does_an_item_between_that_was_rejected(house: House) -> None:
    approve = f"  - {{id: approve, each: '{{{{ inputs.names }}}}', after: [check], {ASK}}}\n"
    when = ", when: '{{ not steps.approve[index] }}', irreversible: true"
    run = house.open(
        THREE
        + work("check", "inputs.names")
        + approve
        + work("mid", "inputs.names")
        + work("tell", "inputs.names", when)
    )
    house.breaks("check.c.broken")
    performed(house, run, "check")
    assert house.site.expand(run, "approve") == 3
    for slot, yes in ((0, True), (1, False), (2, True)):
        house.answers(run, "approve", slot, approved=yes)
    performed(house, run, "mid", "tell")
    house.ends(run)
    house.breaks()
    house.called()
    house.redrive(run, check=[2])
    assert ordered(house, run) == {"check": [2], "approve": [2], "mid": [2], "tell": [2]}


@pytest.mark.parametrize("why", ["rejected", "failed"])
def test_an_item_that_is_redriven_alone_goes_ahead_only_as_any_other(house: House, why: str) -> None:
    run = house.open(
        THREE
        + work("check", "inputs.names")
        + work("single", more=", after: [check]")
        + f"  - {{id: approve, after: [check], {ASK}}}\n"
        + work("pay", "inputs.names", ", after: [approve, single]")
    )
    house.breaks("check.a.broken", "pay.b.broken")
    performed(house, run, "check", "single")
    house.site.approve(run, "approve", by="lead")
    performed(house, run, "pay")
    house.ends(run)
    house.breaks(*(["single.single.broken"] if why == "failed" else []))
    epoch = house.redrive(run, check=[0])
    performed(house, run, "check", "single", epoch=epoch)
    house.site.do(house._answered(WorkRef(run=run, step="approve", epoch=epoch), why == "failed"))
    performed(house, run, "pay", epoch=epoch)
    house.ends(run, epoch)
    house.called()
    epoch = house.redrive(run, pay=[1])
    performed(house, run, "pay", epoch=epoch)
    assert house.called() == []
    assert house.ends(run, epoch)[0] == ("succeeded" if why == "rejected" else "failed")


def test_what_was_discarded_is_done_again_by_no_redrive(house: House) -> None:
    run = house.open(THREE + work("check", "inputs.names") + work("post", "steps.check"))
    house.breaks("check.a.broken", "check.b.broken")
    performed(house, run, "check", "post")
    house.ends(run)
    epoch = house.redrive(run, check=[0])
    dies_before_its_layout(house, run, "check", epoch)
    log = house.site.services.log
    order(log, plan_discard(log, run, {"check": [0]}, by="ada", reason="done by hand"))
    house.breaks()
    house.called()
    epoch = house.redrive(run, check=[1])
    performed(house, run, "check", "post", epoch=epoch)
    assert house.called() == ["check b", "post b"]
    assert house.ends(run, epoch) == ("failed", "1 of 3 items of step check failed")


def test_nor_by_one_of_what_comes_before_it(house: House) -> None:
    run = house.open(THREE + work("other", "inputs.names") + work("pay", "inputs.names", ", after: [other]"))
    house.breaks("other.a.broken", "pay.a.broken")
    performed(house, run, "other", "pay")
    house.ends(run)
    log = house.site.services.log
    order(log, plan_discard(log, run, {"pay": [0]}, by="ada", reason="paid by hand"))
    house.breaks()
    house.called()
    epoch = house.redrive(run, other=[0])
    performed(house, run, "other", "pay", epoch=epoch)
    assert house.called() == ["other a"]
    house.ends(run, epoch)
    epoch = house.restart(run, "pay")
    performed(house, run, "pay", epoch=epoch)
    assert house.called() == ["pay a", "pay b", "pay c"], "a restart does all of a step"
    assert house.ends(run, epoch) == ("succeeded", None)


def test_a_redrive_before_a_step_that_was_discarded_is_refused(one: House) -> None:
    run = one.open(THREE + work("check", "inputs.names") + work("single", more=", after: [check]"))
    one.breaks("check.c.broken", "single.single.broken")
    performed(one, run, "check", "single")
    one.ends(run)
    log = one.site.services.log
    order(log, plan_discard(log, run, {"single": [None]}, by="ada", reason="sent by hand"))
    with pytest.raises(PermanentError, match=r"Step single of .* was discarded"):
        one.redrive(run, check=[2])


@pytest.mark.parametrize("more", [UNDO, ", after: [approve], irreversible: true"])
def test_a_redrive_that_dies_before_its_layout_leaves_the_other_items_as_they_are(house: House, more: str) -> None:
    run = house.open(THREE + f"  - {{id: approve, {ASK}}}\n" + work("post", "inputs.names", more))
    house.breaks("post.c.broken")
    house.site.approve(run, "approve", by="lead")
    performed(house, run, "post")
    house.ends(run)
    house.breaks()
    house.called()
    epoch = house.redrive(run, post=[2])
    tasks: dict[str, str | None] = {{"1": "post_2", "2": "post_1", "all": "post"}[house.pack]: "failed"}
    house.site.unwind(run, tasks, epoch=epoch)
    house.site.close(run, tasks, epoch=epoch)
    assert (house.site.state(run).status, house.called()) == ("failed", [])
    epoch = house.redrive(run, post=[2])
    performed(house, run, "post", epoch=epoch)
    assert house.called() == ["post c"]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_a_redrive_does_no_item_that_an_earlier_list_never_had(house: House) -> None:
    run = house.open(HEAD + LIST + work("check", "steps.list") + work("pay", "steps.list", ", after: [check]"))
    house.breaks("check.c.broken")
    performed(house, run, "list", "check", "pay")
    house.ends(run)
    house.names("a b c d")
    house.performs(run, "list", epoch=house.begun(run))
    house.ends(run, 1)
    house.breaks()
    house.called()
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "pay", epoch=epoch)
    assert house.called() == ["check c", "pay c"]


def test_a_clearing_by_hand_is_no_part_of_a_redrive_that_was_not_closed(house: House) -> None:
    run = house.open(THREE + work("check", "inputs.names") + work("post", "inputs.names", ", after: [check]"))
    house.breaks("check.c.broken")
    performed(house, run, "check", "post")
    house.ends(run)
    house.breaks()
    epoch = house.redrive(run, check=[2])
    performed(house, run, "check", "post", epoch=epoch)
    house.called()
    epoch = house.begun(run)
    performed(house, run, "check", "post", epoch=epoch)
    assert sorted(house.called()) == [f"{step} {name}" for step in ("check", "post") for name in "abc"]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_an_item_that_was_left_out_for_what_is_mended_since_is_told(one: House) -> None:
    run = one.open(
        THREE
        + work("check", "inputs.names")
        + work("single", more=", after: [check]")
        + work("post", "inputs.names", ", after: [single]")
    )
    one.breaks("check.c.broken", "post.b.broken")
    performed(one, run, "check", "single", "post")
    one.ends(run)
    one.breaks("single.single.broken", "post.b.broken")
    epoch = one.redrive(run, check=[2])
    performed(one, run, "check", "single", "post", epoch=epoch)
    one.ends(run, epoch)
    one.breaks()
    epoch = one.begun(run)
    performed(one, run, "single", epoch=epoch)
    one.ends(run, epoch)
    epoch = one.redrive(run, post=[1])
    performed(one, run, "post", epoch=epoch)
    assert one.ends(run, epoch) == ("failed", "step post was left out for what came before it")
    epoch = one.restart(run, "post")
    performed(one, run, "post", epoch=epoch)
    assert one.ends(run, epoch) == ("succeeded", None)
