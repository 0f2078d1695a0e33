"""What is done again in a later execution: what an earlier one left counts no more, and is undone if it has to be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest

from muster.approvals import asking
from muster.database import Database
from muster.errors import PermanentError
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.run_executions import begin_epoch, instant
from muster.execution.work_item import WorkItem
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_redrive, plan_restart
from muster.recovery.dead_letters import DeadLetters, Filter
from support.reconciled import FakeAirflow, found, performed_whole
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "done_again")
HEAD = """automation: tested
inputs: {folder: {type: string}, names: {type: array, default: [a, b]}}
steps:
"""
LIST = '  - {id: list, skill: d.names, with: {folder: "{{ inputs.folder }}"}}\n'


def work(id: str, each: str = "", more: str = "", name: str = "") -> str:
    """A step that does something for each of a list, or for all."""
    fans = f"each: '{{{{ {each} }}}}', pack: PACK, " if each else ""
    name = name or ("{{ item }}" if each else id)
    given = f'with: {{name: "{name}", step: {id}, folder: "{{{{ inputs.folder }}}}"}}'
    return f"  - {{id: {id}, {fans}skill: d.work, {given}{more}}}\n"


UNDO = ', compensate: {skill: d.work, with: {name: "{{ item }}", step: undo, folder: "{{ inputs.folder }}"}}'
CHAIN = HEAD + LIST + work("read", "steps.list") + work("check", "steps.read") + work("post", "steps.check")
UNDONE = HEAD + LIST + work("post", "steps.list", UNDO) + work("last")
ASK = "human: {ask: Pay?, assignees: [lead]}"
EACH = "each: '{{ inputs.names }}', "
APPROVED = (
    HEAD
    + work("check", "inputs.names")
    + f"  - {{id: approve, each: '{{{{ steps.check }}}}', {ASK}}}\n"
    + work("post", "inputs.names", ", after: [approve]")
)


class House:
    """A site whose skills do what files say, and runs of it in several executions."""

    def __init__(self, folder: Path, database: Database, pack: str) -> None:
        self.folder, self.pack = folder, pack
        self.site = Site(folder, database)
        self.site.skills("d", SKILLS)
        self.names("a b c")

    def names(self, names: str) -> None:
        (self.folder / "names").write_text(names)

    def breaks(self, *what: str) -> None:
        """From now on only this is broken."""
        for file in (*self.folder.glob("*.broken"), *self.folder.glob("*.aside")):
            file.unlink()
        for name in what:
            (self.folder / name).touch()

    def called(self) -> list[str]:
        """What was called since the last time somebody asked, step by step: items of one go side by side."""
        calls = self.folder / "calls"
        found = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return [call for _, calls in groupby(found, lambda call: call.split()[0]) for call in sorted(calls)]

    def open(self, source: str) -> str:
        return self.site.open(self.site.definition(source.replace("PACK", self.pack)), folder=str(self.folder))

    def performs(self, run: str, *steps: str, epoch: int = 0) -> None:
        for step in steps:
            self.site.all_of(run, step, epoch=epoch)

    def ends(self, run: str, epoch: int = 0) -> tuple[str, str | None]:
        """Undo and close it as Airflow would."""
        self.site.unwind(run, epoch=epoch)
        self.site.close(run, epoch=epoch)
        state = self.site.state(run)
        assert self.site.services.queries.run(run).status == state.status
        return state.status, state.reason

    def ran(self, source: str, *steps: str) -> str:
        run = self.open(source)
        self.performs(run, *steps)
        self.ends(run)
        self.called()
        return run

    def begun(self, run: str) -> int:
        """An execution that Airflow begins now."""
        at = instant(datetime.now(UTC))
        epoch: int = self.site.do(begin_epoch(self.site.services, run, f"begun/{at}", at)).number
        return epoch

    def restart(self, run: str, step: str) -> int:
        site = self.site
        order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, step, by="admin"))
        return self.begun(run)

    def redrive(self, run: str, **work_items: Sequence[int]) -> int:
        site = self.site
        order(
            site.services.log, plan_redrive(site.services.log, site.services.definitions, run, work_items, by="admin")
        )
        return self.begun(run)

    def answers(self, run: str, step: str, *slots: int, approved: bool = True, epoch: int = 0) -> None:
        for slot in slots:
            self.site.do(self._answered(WorkRef(run=run, step=step, slot=slot, epoch=epoch), approved))

    async def _answered(self, ref: WorkRef, approved: bool) -> None:
        work_item = await begin(self.site.services, ref)
        assert isinstance(work_item, WorkItem)
        await asking.request(self.site.services, work_item)
        await asking.answer(self.site.services, work_item, approved=approved, by="lead")

    def rows(self, run: str, step: str) -> list[tuple[int, str | None]]:
        return [(row.index, row.status) for row in self.site.services.queries.steps(run) if row.step == step]

    def dead(self, run: str) -> list[str]:
        letters = DeadLetters(self.site.services.database).waiting(Filter(run=run), limit=50)
        return [letter.id.removeprefix(f"{run}#") for letter in letters]


@pytest.fixture(params=["1", "2", "all"])
def house(request: pytest.FixtureRequest, tmp_path: Path, database: Database) -> House:
    return House(tmp_path, database, request.param)


@pytest.fixture
def one(tmp_path: Path, database: Database) -> House:
    return House(tmp_path, database, "1")


def test_an_item_that_is_set_aside_now_is_not_gone_on_with_as_what_it_was(house: House) -> None:
    house.breaks("post.c.broken")
    run = house.ran(CHAIN, "list", "read", "check", "post")
    house.breaks("read.b.aside")
    epoch = house.restart(run, "read")
    house.performs(run, "read", "check", "post", epoch=epoch)
    assert house.called() == ["read a", "read b", "read c", "check a", "check c", "post a", "post c"]
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.site.state(run).step("check").output == ["a", None, "c"]
    assert (1, "skipped") in house.rows(run, "check")


def test_nor_is_it_on_the_approval_that_it_had(house: House) -> None:
    run = house.open(APPROVED)
    house.performs(run, "check")
    assert house.site.expand(run, "approve") == 2
    house.answers(run, "approve", 0, 1)
    house.breaks("post.a.broken")
    house.performs(run, "post")
    house.ends(run)
    house.called()
    house.breaks("check.b.aside")
    epoch = house.restart(run, "check")
    house.performs(run, "check", epoch=epoch)
    assert house.site.expand(run, "approve", epoch=epoch) == 1
    house.answers(run, "approve", 0, epoch=epoch)
    house.performs(run, "post", epoch=epoch)
    assert house.called() == ["check a", "check b", "post a"]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_a_shorter_list_is_all_there_is_to_do(house: House) -> None:
    house.breaks("post.c.broken")
    run = house.ran(CHAIN, "list", "read", "check", "post")
    assert house.dead(run) == ["post[2]"]
    house.breaks()
    house.names("a b")
    epoch = house.restart(run, "list")
    house.performs(run, "list", "read", "check", "post", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert (house.site.state(run).step("post").output, house.dead(run)) == (["a", "b"], [])


def test_what_a_cancelled_run_left_out_is_missing_from_none_that_has_no_work_for_it(house: House) -> None:
    run = house.open(UNDONE)
    house.performs(run, "list")
    request_cancel(house.site.services.log, run, by="admin")
    house.performs(run, "post", "last")
    assert house.ends(run)[0] == "failed"
    house.names("a b")
    epoch = house.restart(run, "list")
    house.performs(run, "list", "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)


@pytest.mark.parametrize("condition", ["", ", when: '{{ (steps.list | length) > 2 }}'"])
def test_a_compensated_run_that_comes_through_at_last_has_succeeded(house: House, condition: str) -> None:
    house.breaks("last.last.broken")
    run = house.open(HEAD + LIST + work("post", "steps.list", UNDO + condition) + work("last"))
    house.performs(run, "list", "post", "last")
    assert house.ends(run)[0] == "compensated"
    house.called()
    house.breaks()
    house.names("a b")
    epoch = house.restart(run, "list")
    house.performs(run, "list", "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)
    assert house.called() == ([] if condition else ["post a", "post b"]) + ["last last"]


@pytest.mark.parametrize("condition", ["", ", when: '{{ (steps.list | length) > 2 }}'"])
def test_what_was_done_and_has_no_work_any_more_is_undone_with_the_rest(house: House, condition: str) -> None:
    run = house.open(HEAD + LIST + work("post", "steps.list", UNDO + condition) + work("last"))
    house.performs(run, "list", "post", "last")
    assert house.ends(run) == ("succeeded", None)
    house.called()
    house.names("a")
    house.breaks("last.last.broken")
    epoch = house.restart(run, "list")
    house.performs(run, "list", "post", "last", epoch=epoch)
    assert house.ends(run, epoch)[0] == "compensated"
    assert sorted(call for call in house.called() if call.startswith("undo")) == ["undo a", "undo b", "undo c"]


def test_so_is_a_single_step_that_was_left_out_later(one: House) -> None:
    undo = ', compensate: {skill: d.work, with: {name: "{{ output }}", step: undo, folder: "{{ inputs.folder }}"}}'
    run = one.open(HEAD + LIST + work("single", more=undo + ", when: '{{ (steps.list | length) > 2 }}'") + work("last"))
    one.performs(run, "list", "single", "last")
    assert one.ends(run) == ("succeeded", None)
    one.called()
    one.names("a")
    one.breaks("last.last.broken")
    epoch = one.restart(run, "list")
    one.performs(run, "list", "single", "last", epoch=epoch)
    assert one.site.state(run).outputs()["single"] is None
    assert one.ends(run, epoch)[0] == "compensated"
    assert one.called() == ["last last", "undo single"]


def test_a_dead_letter_that_has_no_work_any_more_is_none(house: House) -> None:
    house.breaks("post.c.broken")
    run = house.ran(CHAIN, "list", "read", "check", "post")
    house.breaks("check.a.broken", "check.b.broken", "check.c.broken")
    epoch = house.restart(run, "check")
    house.performs(run, "check", "post", epoch=epoch)
    assert house.ends(run, epoch)[0] == "failed"
    assert sorted(house.dead(run)) == ["check[0]", "check[1]", "check[2]"]
    with pytest.raises(PermanentError, match=r"post\[2\] .* is no dead letter"):
        house.redrive(run, post=[2])


def test_single_items_can_be_cleared_by_hand(one: House) -> None:
    one.breaks("check.c.broken")
    run = one.ran(CHAIN, "list", "read", "check", "post")
    one.breaks()
    epoch = one.begun(run)
    one.site.step(run, "check", 2, epoch=epoch)
    one.performs(run, "post", epoch=epoch)
    assert one.called() == ["check c", "post a", "post b", "post c"]
    assert one.ends(run, epoch) == ("succeeded", None)
    assert (one.dead(run), one.rows(run, "check")[0]) == ([], (-1, "succeeded"))


def test_a_step_can_be_cleared_by_hand_in_a_run_that_was_redriven(house: House) -> None:
    house.breaks("check.c.broken")
    run = house.ran(CHAIN, "list", "read", "check", "post")
    house.breaks()
    epoch = house.redrive(run, check=[2])
    house.performs(run, "check", "post", epoch=epoch)
    assert house.called() == ["check c", "post c"]
    assert house.ends(run, epoch) == ("succeeded", None)
    epoch = house.begun(run)
    house.performs(run, "post", epoch=epoch)
    assert house.called() == ["post a", "post b", "post c"]
    assert house.ends(run, epoch) == ("succeeded", None)


def test_a_run_of_which_tasks_were_cleared_by_hand_can_be_cancelled(house: House) -> None:
    run = house.ran(UNDONE, "list", "post", "last")
    log = house.site.services.log
    epoch = house.begun(run)
    house.performs(run, "post", epoch=epoch)
    house.called()
    request_cancel(log, run, by="admin")
    house.performs(run, "last", epoch=epoch)
    assert house.called() == []
    assert house.ends(run, epoch) == ("compensated", "cancelled by admin")
    assert sorted(house.called()) == ["undo a", "undo b", "undo c"]
    with pytest.raises(PermanentError, match="has ended"):
        request_cancel(log, run, by="admin")


def test_a_redrive_does_not_go_past_a_question_that_was_to_be_asked_again(house: House) -> None:
    run = house.open(
        HEAD
        + f"  - {{id: approve, {ASK}}}\n"
        + work("check", "inputs.names", ", after: []")
        + work("last", more=", after: [approve, check]")
    )
    house.site.approve(run, "approve", by="lead")
    house.breaks("check.b.broken")
    house.performs(run, "check", "last")
    house.ends(run)
    house.called()
    house.breaks()
    epoch = house.restart(run, "approve")
    house.performs(run, "last", epoch=epoch)
    assert house.called() == []
    house.site.close(run, {"approve": "failed"}, epoch=epoch)
    with pytest.raises(PermanentError, match="--from approve"):
        house.redrive(run, check=[1])


def test_a_redrive_cannot_make_up_for_what_a_restart_did_not_come_to(house: House) -> None:
    """Also where somebody wrote the order all the same: what was owed is owed until it is done."""
    run = house.open(HEAD + f"  - {{id: approve, {ASK}}}\n" + work("last"))
    house.site.approve(run, "approve", by="lead")
    house.breaks("last.last.broken")
    house.performs(run, "last")
    house.ends(run)
    epoch = house.restart(run, "approve")
    house.site.close(run, {"approve": "failed"}, epoch=epoch)
    order(
        house.site.services.log,
        plan_restart(house.site.services.log, house.site.services.definitions, run, "approve", by="admin"),
    )
    house.breaks()
    house.called()
    epoch = house.begun(run)
    house.performs(run, "last", epoch=epoch)
    assert house.called() == []


@pytest.mark.parametrize("kind", ["skill", "human"])
def test_work_that_is_done_again_is_at_work_again(one: House, kind: str) -> None:
    source = HEAD + (work("single") if kind == "skill" else f"  - {{id: single, {ASK}}}\n")
    run = one.open(source)
    if kind == "skill":
        one.performs(run, "single")
    else:
        one.site.approve(run, "single", by="lead")
    one.ends(run)
    epoch = one.restart(run, "single")

    async def begins() -> None:
        work_item = await begin(one.site.services, WorkRef(run=run, step="single", epoch=epoch))
        assert isinstance(work_item, WorkItem)
        if kind == "human":
            await asking.request(one.site.services, work_item)

    one.site.do(begins())
    status = "running" if kind == "skill" else "waiting"
    assert (one.site.state(run).step("single").status, one.rows(run, "single")) == (status, [(-1, status)])
    airflow = FakeAirflow("running", tasks={"single": "running" if kind == "skill" else "awaiting_input"})
    assert (found(one.site, airflow), airflow.cleared, airflow.restarted) == ([], [], []), "it is left alone"


def test_so_is_an_item_that_is_redriven(one: House) -> None:
    one.breaks("check.c.broken")
    run = one.ran(CHAIN, "list", "read", "check", "post")
    epoch = one.redrive(run, check=[2])

    async def begins() -> None:
        assert isinstance(await begin(one.site.services, WorkRef(run=run, step="check", slot=2, epoch=epoch)), WorkItem)

    one.site.do(begins())
    assert one.site.state(run).step("check").status == "running"
    assert (2, "running") in one.rows(run, "check")
    assert one.dead(run) == []
    airflow = FakeAirflow("running", tasks={"check_2": "running", "check_0": "success"})
    assert (found(one.site, airflow), airflow.cleared) == ([], [])


@pytest.mark.parametrize("each", ["inputs.names", '["a", "b"]', ""])
def test_a_step_after_a_list_of_which_nothing_was_approved_is_rejected(house: House, each: str) -> None:
    run = house.open(HEAD + f"  - {{id: approve, {EACH}{ASK}}}\n" + work("post" if each else "last", each))
    for _ in range(house.site.expand(run, "approve")):
        pass
    house.answers(run, "approve", 0, 1, approved=False)
    house.performs(run, "post" if each else "last")
    assert (house.called(), house.ends(run)) == ([], ("succeeded", None))


@pytest.mark.parametrize("approved", [False, True])
def test_also_where_a_step_of_the_same_list_comes_between(house: House, approved: bool) -> None:
    run = house.open(
        HEAD
        + f"  - {{id: approve, {EACH}{ASK}}}\n"
        + work("post", "inputs.names")
        + work("last", more=", after: [post]")
    )
    house.site.expand(run, "approve")
    house.answers(run, "approve", 0, approved=approved)
    house.answers(run, "approve", 1, approved=False)
    house.performs(run, "post", "last")
    assert house.called() == (["post a", "last last"] if approved else [])


@pytest.mark.parametrize("each", [EACH, ""])
def test_a_step_that_asks_for_the_first_of_two_answers_itself_is_told_it(house: House, each: str) -> None:
    run = house.open(
        HEAD
        + f"  - {{id: one, {each}{ASK}}}\n  - {{id: two, {each}{ASK}}}\n"
        + (
            work("tell", "inputs.names", ", after: [two], when: '{{ not steps.one[index] }}'", name="x")
            if each
            else work("last", more=", after: [two], when: '{{ not steps.one }}'", name="x")
        )
    )
    if each:
        house.site.expand(run, "one")
        house.answers(run, "one", 0, 1, approved=False)
        assert house.site.expand(run, "two") == 0
        house.performs(run, "tell")
    else:
        house.site.approve(run, "one", by="lead", approved=False)
        house.site.step(run, "two")
        house.performs(run, "last")
    assert house.called() == (["tell x", "tell x"] if each else ["last x"])


def test_an_item_of_a_list_that_is_to_be_laid_out_again_is_one_of_the_new_list(one: House) -> None:
    """Also where the task that lays it out was marked success by hand: its instances are of the old list."""
    run = one.ran(HEAD + LIST + work("post", "steps.list") + work("last"), "list", "post", "last")
    one.names("x y")
    epoch = one.restart(run, "list")
    one.performs(run, "list", epoch=epoch)
    one.site.step(run, "post", 0, epoch=epoch)
    assert (one.called(), one.site.state(run).step("post").length) == (["post x"], 2)


def apart(*ways: str) -> str:
    """Ways that have no step in common before the last one."""
    return HEAD + "".join(ways) + work("last", more=", after: [one, two]")


def both(way: str) -> str:
    """Twice the same way, as `one` and `two`."""
    return apart(way.replace("WAY", "one"), way.replace("WAY", "two"))


BACK = ', after: [], compensate: {skill: d.work, with: {name: WAY, step: undo, folder: "{{ inputs.folder }}"}}'
ROOTS = {"single": work("WAY", more=BACK), "list": work("WAY", "inputs.names", BACK)}


@pytest.mark.parametrize("told", [True, False], ids=["Airflow is told", "Airflow is not told"])
@pytest.mark.parametrize("asked", ["one", "two"])
@pytest.mark.parametrize("shape", ROOTS)
def test_two_ways_that_were_both_undone_are_done_again_together(
    house: House, shape: str, asked: str, told: bool
) -> None:
    run = house.open(both(ROOTS[shape]))
    steps = ["one", "two"] if shape == "list" else []
    perform = (
        (lambda epoch: house.performs(run, *steps, epoch=epoch))
        if steps
        else (lambda epoch: [house.site.step(run, step, epoch=epoch) for step in ("one", "two")])
    )
    house.breaks("last.last.broken")
    perform(0)
    house.performs(run, "last")
    assert house.ends(run)[0] == "compensated"
    house.breaks()
    done = sorted(call for call in house.called() if not call.startswith("undo"))
    with pytest.raises(PermanentError, match=r"Step one of .* was undone") as refused:
        house.restart(run, "last")
    assert "--from one`" in str(refused.value.remedy)
    if told:
        epoch = house.restart(run, asked)
        perform(epoch)
        house.performs(run, "last", epoch=epoch)
        assert house.ends(run, epoch) == ("succeeded", None)
    else:
        site = house.site
        order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, asked, by="admin"))
        assert found(site, FakeAirflow("failed"))[0].mended
        assert performed_whole(site, run)["close"] == "succeeded"
    assert sorted(house.called()) == done
    assert house.site.state(run).status == "succeeded"


@pytest.mark.parametrize("asked", ["one", "two"])
@pytest.mark.parametrize("each", ["", EACH], ids=["single", "list"])
def test_two_questions_that_were_open_when_the_run_was_cancelled_are_both_asked_again(
    one: House, each: str, asked: str
) -> None:
    run = one.open(both(f"  - {{id: WAY, after: [], {each}{ASK}}}\n"))

    def put(epoch: int) -> list[tuple[str, int | None]]:
        steps = ("one", "two")
        if not each:
            return [(step, None) for step in steps]
        return [(step, slot) for step in steps for slot in range(one.site.expand(run, step, epoch=epoch))]

    for step, slot in put(0):
        work_item = one.site.do(begin(one.site.services, WorkRef(run=run, step=step, slot=slot)))
        one.site.do(asking.request(one.site.services, work_item))
    request_cancel(one.site.services.log, run, by="admin")
    one.performs(run, "last")
    one.ends(run)
    with pytest.raises(PermanentError, match=r"Step one of .* has no outcome"):
        one.restart(run, "last")
    epoch = one.restart(run, asked)
    questions = put(epoch)
    for step, slot in questions[:-1]:
        one.site.do(one._answered(WorkRef(run=run, step=step, slot=slot, epoch=epoch), True))
    assert one.site.state(run).step(questions[-1][0]).work(0 if each else None).status != "skipped"
    step, slot = questions[-1]
    one.site.do(one._answered(WorkRef(run=run, step=step, slot=slot, epoch=epoch), True))
    one.performs(run, "last", epoch=epoch)
    assert one.ends(run, epoch) == ("succeeded", None)
    assert one.called() == ["last last"]


def test_what_is_done_again_besides_is_what_stands_in_the_way_and_what_comes_after_it(one: House) -> None:
    source = apart(
        work("one", more=", after: []"),
        work("apart", more=", after: []"),
        work("first", more=BACK.replace("WAY", "first")),
        work("two", more=", after: [first]"),
        work("beside", more=", after: [first]"),
    )
    run = one.open(source)
    one.breaks("last.last.broken")
    for step in ("one", "apart", "first", "two", "beside", "last"):
        one.site.step(run, step)
    assert one.ends(run)[0] == "compensated"
    site = one.site
    plan = plan_restart(site.services.log, site.services.definitions, run, "one", by="admin")
    assert plan.steps == ("one", "first", "two", "beside", "last")
    assert (plan.besides, plan.also) == (("first", "two", "beside"), {"first": "was undone, or is to be"})
    with pytest.raises(PermanentError, match="--from first"):
        one.restart(run, "beside")
    one.restart(run, "first")
    [order] = site.services.log.read(run, types=["run.restarted"])
    assert "also" not in order.data, "nothing else is in the way"
    assert order.data["again"] == dict.fromkeys(("first", "two", "beside", "last"))


def test_what_is_done_again_by_hand_of_a_run_that_was_undone_is_not_told_as_undone(house: House) -> None:
    run = house.open(UNDONE)
    house.breaks("last.last.broken")
    house.performs(run, "list", "post", "last")
    assert house.ends(run)[0] == "compensated"
    house.breaks()
    house.called()
    epoch = house.begun(run)
    if house.pack == "all":
        house.performs(run, "post", "last", epoch=epoch)
        assert house.ends(run, epoch) == ("succeeded", None)
        return
    house.site.step(run, "post", 0, epoch=epoch)
    house.performs(run, "last", epoch=epoch)
    assert house.ends(run, epoch) == ("failed", "step last was left out for what came before it")
    assert "undo a" not in house.called()
    epoch = house.restart(run, "post")
    house.performs(run, "post", "last", epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)


@pytest.mark.parametrize("dies", ["read", "post"])
def test_a_list_that_was_cleared_by_hand_and_died_before_its_layout_has_not_succeeded(house: House, dies: str) -> None:
    """What comes after a fan-out goes ahead in Airflow whatever became of it."""
    run = house.ran(CHAIN, "list", "read", "check", "post")
    house.names("b")
    epoch = house.begun(run)
    steps = ["list", "check", "post"] if dies == "read" else ["list", "read", "check"]
    house.performs(run, *steps, epoch=epoch)
    tasks: dict[str, str | None] = {dies if house.pack == "all" else f"{dies}.items": "failed"}
    house.site.unwind(run, tasks, epoch=epoch)
    house.site.close(run, tasks, epoch=epoch)
    state = house.site.state(run)
    assert (state.status, state.reason) == ("failed", f"step {dies} stopped before it was done again")
    house.called()
    epoch = house.restart(run, dies)
    house.performs(run, *("read", "check", "post")["rcp".index(dies[0]) :], epoch=epoch)
    assert house.ends(run, epoch) == ("succeeded", None)


def test_nor_has_an_item_that_was_cleared_by_hand_and_died_before_it_began(one: House) -> None:
    run = one.ran(UNDONE, "list", "post", "last")
    epoch = one.begun(run)
    one.performs(run, "list", "last", epoch=epoch)
    tasks: dict[str, str | None] = {"post_1": "failed"}
    one.site.unwind(run, tasks, epoch=epoch)
    one.site.close(run, tasks, epoch=epoch)
    assert one.site.state(run).reason == "step post stopped before it was done again"


def test_a_task_that_airflow_had_failed_though_its_work_was_done_counts_as_done_once_a_person_has_marked_it(
    one: House,
) -> None:
    """Airflow keeps it as failed, and whether it was cleared with another one nobody can tell."""
    run, tasks = one.ran(UNDONE, "list", "post", "last"), dict[str, str | None](post_1="failed")
    assert one.site.state(run).status == "succeeded"
    one.performs(run, "last", epoch=(epoch := one.begun(run)))
    one.site.close(run, tasks, epoch=epoch)
    assert one.site.state(run).reason == "step post stopped before it was done again"
    one.site.close(run, {"post_1": "success"}, epoch=one.begun(run))
    assert one.site.state(run).status == "succeeded"
