"""What has no outcome lets nothing go ahead, whatever Airflow says of its task: a question nobody answered, for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.approvals import asking
from muster.database import Database
from muster.errors import PermanentError
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_restart
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "without_an_outcome")
HEAD = """automation: tested
inputs: {folder: {type: string}, sums: {type: array, items: {type: integer}, default: [10, 20]}}
steps:
"""
ONE = (
    HEAD
    + """  - {id: approve, human: {ask: "Pay?", assignees: [lead]}}
  - {id: pay, skill: till.SKILL, with: {folder: "{{ inputs.folder }}", what: all}}
"""
)
EACH = (
    HEAD
    + """  - {id: approve, each: "{{ inputs.sums }}", human: {ask: "Pay {{ item }}?", assignees: [lead]}}
  - id: pay
    each: "{{ inputs.sums }}"
    pack: PACK
    after: [approve]
    skill: till.SKILL
    with: {folder: "{{ inputs.folder }}", what: "{{ item | string }}"}
"""
)
TOTAL = (
    HEAD
    + """  - id: count
    each: "{{ inputs.sums }}"
    skill: till.SKILL
    with: {folder: "{{ inputs.folder }}", what: "{{ item | string }}"}
  - id: total
    skill: till.SKILL
    with: {folder: "{{ inputs.folder }}", what: "of {{ steps.count | present | length }}"}
"""
)
PACKS = [1, 2, "all"]


@pytest.fixture(autouse=True)
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("till", SKILLS)
    return made


@pytest.fixture(params=["pay", "apay"])
def lane(request: pytest.FixtureRequest) -> str:
    """The skill of a lane."""
    return str(request.param)


def opened(site: Site, source: str, tmp_path: Path, lane: str = "pay", pack: Any = 1) -> str:
    definition = site.definition(source.replace("SKILL", lane).replace("PACK", str(pack)))
    return site.open(definition, folder=str(tmp_path))


def done(tmp_path: Path) -> list[str]:
    """What was really done, sorted."""
    file = tmp_path / "done"
    return sorted(file.read_text().split("\n")[:-1]) if file.exists() else []


def ask(site: Site, run: str, slot: int | None = None, epoch: int = 0) -> None:
    async def asked() -> None:
        work_item = await begin(site.services, WorkRef(run=run, step="approve", slot=slot, epoch=epoch))
        assert isinstance(work_item, WorkItem)
        await asking.request(site.services, work_item)

    site.do(asked())


def go_on(site: Site, run: str, step: str = "pay", epoch: int = 0) -> None:
    site.all_of(run, step, epoch=epoch)


def restarted(site: Site, run: str, step: str) -> None:
    order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, step, by="requester"))


@pytest.mark.parametrize("said_by_airflow", ["success", "failed", "skipped"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_question_nobody_answered_stops_what_comes_after_it(
    site: Site, tmp_path: Path, lane: str, asked: bool, said_by_airflow: str
) -> None:
    run = opened(site, ONE, tmp_path, lane)
    if asked:
        ask(site, run)
    go_on(site, run)
    states = {"open": "success", "approve": said_by_airflow, "pay": "skipped"}
    site.unwind(run, states)
    site.close(run, states)
    state = site.state(run)
    assert done(tmp_path) == []
    assert (state.step("pay").whole.reason, state.status) == ("upstream_failed", "failed")
    assert "step approve" in str(state.reason)


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("said_by_airflow", ["success", "failed"])
@pytest.mark.parametrize("answered", [0, 1])
def test_so_does_one_of_a_fan_out(
    site: Site, tmp_path: Path, lane: str, pack: Any, said_by_airflow: str, answered: int
) -> None:
    run = opened(site, EACH, tmp_path, lane, pack)
    for slot in range(site.expand(run, "approve")):
        if slot < answered:
            site.approve(run, "approve", by="lead", slot=slot)
        else:
            ask(site, run, slot)
    go_on(site, run)
    states = {"approve_0": "success", "approve_1": said_by_airflow}
    site.unwind(run, states)
    site.close(run, states)
    state = site.state(run)
    assert done(tmp_path) == []
    assert state.status == "failed"
    assert "step approve" in str(state.reason)


@pytest.mark.parametrize("pack", PACKS)
def test_a_question_that_could_not_be_put_is_no_approval_of_its_item(
    site: Site, tmp_path: Path, lane: str, pack: Any
) -> None:
    source = EACH.replace("assignees: [lead]", "assignees: \"{{ ['lead'] if item == 10 else [] }}\"")
    run = opened(site, source, tmp_path, lane, pack)
    site.expand(run, "approve")
    site.approve(run, "approve", by="lead", slot=0)
    with pytest.raises(PermanentError, match="Nobody may answer"):
        ask(site, run, 1)

    async def failed() -> None:
        from muster.execution.fanout import end
        from muster.execution.performing import load_begun

        ref = WorkRef(run=run, step="approve", slot=1)
        work_item = await load_begun(site.services, ref)
        assert isinstance(work_item, WorkItem)
        await end(site.services, ref, [work_item.failed(PermanentError("Nobody may answer."))])

    site.do(failed())
    go_on(site, run)
    assert done(tmp_path) == ["10"]
    assert site.state(run).step("pay").items[1].reason == "upstream_failed"


@pytest.mark.parametrize("pack", PACKS)
def test_an_item_that_was_lost_before_it_could_be_asked_about_is_not_approved(
    site: Site, tmp_path: Path, lane: str, pack: Any
) -> None:
    source = EACH.replace(
        "steps:\n",
        'steps:\n  - {id: match, each: "{{ inputs.sums }}", pack: all, skill: till.match,'
        ' with: {what: "{{ item }}"}}\n',
    ).replace('id: approve, each: "{{ inputs.sums }}"', 'id: approve, each: "{{ steps.match }}"')
    run = opened(site, source.replace("default: [10, 20]", "default: [10, 20, 30]"), tmp_path, lane, pack)
    site.step(run, "match")
    for slot in range(site.expand(run, "approve")):
        site.approve(run, "approve", by="lead", slot=slot)
    go_on(site, run)
    assert done(tmp_path) == ["10", "30"]


@pytest.mark.parametrize("fan_out", [True, False])
def test_a_restart_past_an_unanswered_question_is_refused_and_names_the_question(
    site: Site, tmp_path: Path, fan_out: bool
) -> None:
    run = opened(site, EACH if fan_out else ONE, tmp_path)
    if fan_out:
        site.expand(run, "approve")
        site.approve(run, "approve", by="lead", slot=0)
    ask(site, run, 1 if fan_out else None)
    request_cancel(site.services.log, run, by="requester")
    site.unwind(run)
    site.close(run)
    version = site.state(run).version
    with pytest.raises(PermanentError, match=r"approve of .* has no outcome") as refused:
        restarted(site, run, "pay")
    assert f"muster restart {run} --from approve" in str(refused.value.remedy)
    assert site.state(run).version == version
    restarted(site, run, "approve")


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("asked", [True, False])
def test_an_answer_of_an_earlier_execution_is_none_to_the_question_that_is_put_again(
    site: Site, tmp_path: Path, pack: Any, by_hand: bool, asked: bool
) -> None:
    run = opened(site, EACH, tmp_path, pack=pack)
    for slot in range(site.expand(run, "approve")):
        site.approve(run, "approve", by="lead", slot=slot)
    go_on(site, run)
    site.close(run)
    assert done(tmp_path) == ["10", "20"]
    (tmp_path / "done").unlink()
    begun_again(site, run, "approve", by_hand=by_hand)
    for slot in range(site.expand(run, "approve", epoch=1)):
        if asked:
            ask(site, run, slot, epoch=1)
    go_on(site, run, epoch=1)
    site.close(run, epoch=1)
    assert done(tmp_path) == []
    assert site.state(run).status == "failed"
    with pytest.raises(PermanentError, match=r"approve of .* has no outcome"):
        restarted(site, run, "pay")


@pytest.mark.parametrize("by_hand", [True, False])
def test_nor_is_one_to_a_single_question(site: Site, tmp_path: Path, lane: str, by_hand: bool) -> None:
    run = opened(site, ONE, tmp_path, lane)
    site.approve(run, "approve", by="lead")
    go_on(site, run)
    site.close(run)
    (tmp_path / "done").unlink()
    begun_again(site, run, "approve", by_hand=by_hand)
    ask(site, run, epoch=1)
    go_on(site, run, epoch=1)
    site.close(run, epoch=1)
    assert done(tmp_path) == []
    assert site.state(run).status == "failed"
    with pytest.raises(PermanentError, match=r"approve of .* has no outcome"):
        restarted(site, run, "pay")


def begun_again(site: Site, run: str, step: str, *, by_hand: bool) -> None:
    """The run's next execution: ordered, or because tasks were cleared in Airflow."""
    from muster.execution.run_executions import begin_epoch

    if not by_hand:
        restarted(site, run, step)
    epoch = site.do(begin_epoch(site.services, run, "begun/later", "later"))
    assert epoch.number == 1


@pytest.mark.parametrize("said_by_airflow", ["success", "failed", None])
def test_a_list_of_which_not_all_was_done_is_not_added_up(
    site: Site, tmp_path: Path, lane: str, said_by_airflow: str | None
) -> None:
    run = opened(site, TOTAL.replace("default: [10, 20]", "default: [10, 20, 30]"), tmp_path, lane)
    site.expand(run, "count")
    site.step(run, "count", 0)
    go_on(site, run, "total")
    states = {"count_0": "success", "count_1": said_by_airflow, "count_2": said_by_airflow}
    site.unwind(run, states)
    site.close(run, states)
    state = site.state(run)
    assert done(tmp_path) == ["10"]
    assert (state.step("total").whole.reason, state.status) == ("upstream_failed", "failed")
    died = "step count stopped without an outcome"
    assert state.reason == (died if said_by_airflow == "failed" else "2 of 3 items of step count have no outcome")


def test_a_list_of_which_nothing_was_laid_out_fails_the_run(site: Site, tmp_path: Path) -> None:
    run = opened(site, TOTAL, tmp_path)
    go_on(site, run, "total")
    site.close(run, {"count.items": "success", "count": "skipped"})
    assert (done(tmp_path), site.state(run).status) == ([], "failed")


def test_a_fan_out_whose_completion_was_not_written_goes_ahead(site: Site, tmp_path: Path, lane: str) -> None:
    """Whoever ended the last item died before saying so."""
    run = opened(site, TOTAL, tmp_path, lane)
    site.all_of(run, "count")
    with site.services.database.connection() as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
        connection.execute("DELETE FROM events WHERE stream = %s AND type = 'step.completed'", (run,))
    go_on(site, run, "total")
    site.close(run)
    assert "of 2" in done(tmp_path)
