# ruff: noqa: F811
"""Lists in later executions: what stays as it is, what nobody was asked about, what changed places."""

from __future__ import annotations

from contextlib import suppress

import pytest

from execution.test_done_again import ASK, HEAD, LIST, UNDO, House, house, one, work  # noqa: F401
from muster.errors import PermanentError
from muster.execution.references import WorkRef

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
    assert house.called() == ["post c", "post b", "last last"]


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
    assert house.called() == ["post a", "post d", "post c"]
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
