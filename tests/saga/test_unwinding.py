"""Promises of the saga: what a broken run did is undone in reverse, once, or the run is stuck and people know."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest

from muster.errors import PermanentError
from muster.execution.view import RunView
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_restart
from muster.saga import unwinding
from muster.saga.resuming import AlreadyResumed, resume
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "unwinding")
pytestmark = pytest.mark.skills(depot=SKILLS)
UNDO = "compensate: {skill: depot.undo, with: {said: '{{ output }}'}, retry: {times: 2, delay: 0s}}"
AUTOMATION = f"""automation: order
incidents: [{{slack: "#stuck"}}]
inputs: {{names: {{type: array, items: {{type: string}}, default: []}}}}
steps:
  - {{id: reserve, skill: depot.act, with: {{name: reserve}}, {UNDO}}}
  - {{id: pay, skill: depot.act, with: {{name: pay}}, {UNDO}}}
  - id: pack
    after: reserve
    each: "{{{{ inputs.names }}}}"
    pack: all
    skill: depot.act
    with: {{name: "{{{{ item }}}}"}}
    {UNDO}
  - {{id: ship, after: [pay, pack], skill: depot.act, with: {{name: ship}}}}
  - {{id: tell, notify: [{{slack: "#shop", text: Shipped}}]}}
"""


def depot() -> Any:
    return sys.modules["muster_site.depot"]


def broken(site: Site, *names: str, source: str = AUTOMATION, **inputs: Any) -> str:
    """A run in which these break, as far as its forward steps go."""
    definition = site.definition(source)
    run = site.open(definition, **inputs)
    from muster.skills.registry import get_skill

    get_skill("depot.act", site.services.site)
    depot().broken.update(names)
    for step in definition.steps:
        site.step(run, step.id)
    return run


def types(site: Site, run: str) -> list[str]:
    return [event.type for event in site.services.log.read(run)]


class Looked(list[Any]):
    """Events, and how often somebody has gone through them."""

    times = 0

    def __iter__(self) -> Any:
        Looked.times += 1
        return super().__iter__()


@pytest.mark.parametrize("count", [2, 40])
def test_the_log_is_gone_through_as_often_for_many_items_as_for_few(
    site: Site, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    run = broken(site, "ship", names=[str(number) for number in range(count)])

    async def load_all(services: Any, name: str) -> RunView:
        view = await loaded(services, name)
        return replace(view, events=Looked(view.events))

    loaded = unwinding.load_all
    monkeypatch.setattr(unwinding, "load_all", load_all)
    monkeypatch.setattr(Looked, "times", 0)
    assert site.unwind(run) == "succeeded"
    assert len(depot().undone) == count + 2
    # For each step: its state, its layouts, and the list as it was laid out.
    assert Looked.times < 20


def test_what_a_broken_run_did_is_undone_in_reverse_and_the_run_is_compensated(site: Site) -> None:
    run = broken(site, "ship", names=["a", "b"])
    assert site.unwind(run) == "succeeded"
    assert sorted(depot().undone[:3]) == [("pack[0]", "A"), ("pack[1]", "B"), ("pay", "PAY")]
    assert depot().undone[3] == ("reserve", "RESERVE")
    outcome = site.close(run)
    assert outcome.status == "failed"
    assert outcome.reason == "compensated: step ship failed: ship is broken"
    state = site.state(run)
    assert (state.status, state.step("pay").status, state.step("pack").items[1].status) == (
        "compensated", "undone", "undone",
    )  # fmt: skip
    row = site.services.queries.run(run)
    assert row.status == "compensated"


def test_a_run_that_succeeded_undoes_nothing(site: Site) -> None:
    run = broken(site, names=["a"])
    assert site.unwind(run) == "skipped"
    assert site.close(run).status == "succeeded"
    assert depot().undone == []


def test_a_failure_to_tell_people_undoes_nothing(site: Site) -> None:
    source = AUTOMATION.replace('"#shop"', '"{{ inputs.names[7] }}"')
    run = broken(site, names=["a"], source=source)
    assert site.state(run).step("tell").status == "failed"
    assert site.unwind(run) == "skipped"
    assert site.close(run).reason.startswith("step tell failed")


def test_items_that_failed_beside_others_that_came_through_undo_nothing(site: Site) -> None:
    run = broken(site, "b", names=["a", "b"])
    assert site.unwind(run) == "skipped"
    assert site.state(run).step("pack").items[0].status == "succeeded"
    assert site.close(run).reason == "1 of 2 items of step pack failed"


def test_work_with_an_unknown_outcome_counts_as_begun(site: Site) -> None:
    definition = site.definition(AUTOMATION)
    run = site.open(definition)
    from muster.execution.performing import begin
    from muster.execution.references import WorkRef

    site.do(begin(site.services, WorkRef(run=run, step="reserve")))
    assert site.unwind(run, {"reserve": "failed"}) == "succeeded"
    assert depot().undone == [("reserve", None)]
    assert site.close(run, {"reserve": "failed"}).reason.startswith(
        "compensated: step reserve stopped without an outcome"
    )


@pytest.mark.parametrize("begun", [True, False])
def test_what_a_process_died_in_is_undone_although_the_next_one_skips_it(site: Site, begun: bool) -> None:
    run = site.open(site.definition(AUTOMATION))
    from muster.execution.performing import begin
    from muster.execution.references import WorkRef

    if begun:
        site.do(begin(site.services, WorkRef(run=run, step="reserve")))
    request_cancel(site.services.log, run, by="ops")
    assert site.step(run, "reserve").status == "skipped"
    assert site.unwind(run) == ("succeeded" if begun else "skipped")
    if begun:
        assert depot().undone == [("reserve", None)]
    site.close(run)
    assert site.state(run).status == ("compensated" if begun else "failed")


@pytest.mark.parametrize("begun", [["reserve"], []])
def test_what_was_taken_for_dead_begins_nothing_once_undoing_has_begun(site: Site, begun: list[str]) -> None:
    run = site.open(site.definition(AUTOMATION), names=["a", "b"])
    for step in begun:
        site.step(run, step)
    dead: dict[str, str | None] = {"pay" if begun else "reserve": "failed"}
    assert site.unwind(run, dead) == ("succeeded" if begun else "skipped")
    from muster.skills.registry import get_skill

    get_skill("depot.act", site.services.site)
    for step in ("pay", "pack") if begun else ("reserve",):
        assert site.step(run, step).status == "skipped"
    assert [key.rpartition("/")[2] for key in depot().done] == begun
    site.close(run, dead)
    assert site.state(run).status == ("compensated" if begun else "failed")


def test_undoing_twice_undoes_once(site: Site) -> None:
    run = broken(site, "ship", names=["a"])
    assert site.unwind(run) == "succeeded"
    before = types(site, run)
    assert site.unwind(run) == "succeeded"
    assert len(depot().undone) == 3
    assert types(site, run) == before


def test_a_compensation_is_repeated_as_it_says(site: Site) -> None:
    run = broken(site, "ship")
    depot().flaky["pay"] = 2
    assert site.unwind(run) == "succeeded"
    assert types(site, run).count("compensation.retried") == 2
    assert [name for name, _ in depot().undone] == ["pay", "reserve"]


def test_of_the_places_of_a_stuck_run_one_that_is_none_keeps_no_other_back(site: Site) -> None:
    source = AUTOMATION.replace(
        'incidents: [{slack: "#stuck"}]',
        'settings: {office: "Ops <ops@example.com>"}\nincidents: [{email: "{{ settings.office }}"}, {slack: "#stuck"}]',
    )
    run = broken(site, "ship", "undo pay", source=source, names=["a"])
    assert site.unwind(run) == "failed"
    assert [entry.target for entry in site.services.notices.outbox.entries(run=run)] == ["#stuck"]


def test_a_compensation_that_fails_for_good_stops_the_rest_and_tells_people(site: Site) -> None:
    run = broken(site, "ship", "undo pay", names=["a"])
    assert site.unwind(run) == "failed"
    assert ("reserve", "RESERVE") not in depot().undone
    outcome = site.close(run)
    assert outcome.reason is not None
    assert outcome.reason.startswith("stuck: ")
    assert site.services.queries.run(run).status == "stuck"
    (notice,) = site.services.notices.outbox.entries()
    assert (notice.target, "muster resume" in notice.text) == ("#stuck", True)


def test_a_stuck_run_goes_on_where_it_stopped_once_somebody_says_so(site: Site) -> None:
    run = broken(site, "ship", "undo pay", names=["a"])
    site.unwind(run)
    site.close(run)
    depot().broken.discard("undo pay")
    assert site.unwind(run, epoch=1, only=["pay", "pack", "reserve"]) == "succeeded"
    assert sorted(name for name, _ in depot().undone) == ["pack[0]", "pay", "reserve"]
    site.close(run, epoch=1)
    assert site.state(run).status == "compensated"
    assert site.services.queries.run(run).status == "compensated"


def test_what_nothing_can_undo_makes_the_run_stuck_until_a_person_has_acted(site: Site) -> None:
    source = AUTOMATION.replace(f"with: {{name: pay}}, {UNDO}", "with: {name: pay}, irreversible: true").replace(
        "  - {id: pay,", "  - {id: agreed, human: {ask: Pay?, assignees: [boss]}}\n  - {id: pay,"
    )
    definition = site.definition(source)
    run = site.open(definition)
    site.step(run, "reserve")
    site.approve(run, "agreed", by="boss")
    site.step(run, "pay")
    depot().broken.add("ship")
    site.step(run, "pack")
    site.step(run, "ship")
    assert site.unwind(run) == "failed"
    assert depot().undone == []
    assert site.close(run).reason.startswith("stuck: ")
    resume(site.services.log, run, by="ann")
    assert site.unwind(run, epoch=1) == "succeeded"
    site.close(run, epoch=1)
    assert depot().undone == [("reserve", "RESERVE")]
    assert site.state(run).status == "compensated"


def test_a_cancelled_run_begins_nothing_more_and_is_undone(site: Site) -> None:
    definition = site.definition(AUTOMATION)
    run = site.open(definition)
    site.step(run, "reserve")
    request_cancel(site.services.log, run, by="ann", reason="wrong order")
    assert site.step(run, "pay").reason == "cancelled"
    assert site.unwind(run) == "succeeded"
    assert site.close(run).reason == "compensated: cancelled by ann: wrong order"
    assert depot().undone == [("reserve", "RESERVE")]


def test_work_done_anew_after_it_was_undone_can_be_undone_again(site: Site) -> None:
    run = broken(site, "ship")
    site.unwind(run)
    site.close(run)
    for step in ("reserve", "pay", "pack", "ship"):
        site.step(run, step, epoch=1)
    assert site.state(run).step("reserve").status == "succeeded"
    assert site.unwind(run, epoch=1) == "succeeded"
    site.close(run, epoch=1)
    assert [name for name, _ in depot().undone] == ["pay", "reserve", "pay~1", "reserve~1"]
    assert [key.rpartition("/")[2] for key in depot().done] == ["reserve", "pay", "reserve~1", "pay~1"]
    assert site.state(run).status == "compensated"


def test_what_was_undone_and_is_taken_for_dead_before_it_is_done_anew_does_nothing_more(site: Site) -> None:
    log, definitions = site.services.log, site.services.definitions
    run = site.open(site.definition(AUTOMATION))
    site.step(run, "reserve")
    request_cancel(log, run, by="ann")
    site.unwind(run)
    site.close(run)
    order(log, plan_restart(log, definitions, run, "reserve", by="ann"))
    dead: dict[str, str | None] = {"reserve": "failed"}
    assert site.unwind(run, dead, epoch=1) == "skipped"
    site.close(run, dead, epoch=1)
    version = log.version(run)
    assert "has ended" in str(site.step(run, "reserve", epoch=1).reason)
    assert ([key.rpartition("/")[2] for key in depot().done], log.version(run)) == (["reserve"], version)
    assert (site.state(run).status, site.state(run).reason) == ("failed", "step reserve stopped without an outcome")


def test_of_two_that_resume_a_stuck_run_at_once_one_is_told_who_was_first(site: Site) -> None:
    run = broken(site, "ship", "undo pay")
    site.unwind(run)
    site.close(run)
    resume(site.services.log, run, by="ann", by_hand=True)
    before = types(site, run)
    with pytest.raises(AlreadyResumed, match="ann has resumed"):
        resume(site.services.log, run, by="bob")
    assert types(site, run) == before
    assert site.unwind(run, epoch=1, only=["pay", "reserve"]) == "succeeded"
    assert [name for name, _ in depot().undone] == ["reserve"], "what a person did is not done again"


@pytest.mark.parametrize(("run", "said"), [("order/none", "There is no run"), (None, "is not stuck: it is open")])
def test_what_is_not_stuck_cannot_be_resumed(site: Site, run: str | None, said: str) -> None:
    run = run or site.open(site.definition(AUTOMATION))
    before = types(site, run)
    with pytest.raises(PermanentError, match=said):
        resume(site.services.log, run, by="ann")
    assert types(site, run) == before


def test_a_restarted_run_can_be_cancelled_again(site: Site) -> None:
    log, definitions = site.services.log, site.services.definitions
    definition = site.definition(AUTOMATION)
    run = site.open(definition)
    site.step(run, "reserve")
    request_cancel(log, run, by="ann")
    site.unwind(run)
    site.close(run)
    order(log, plan_restart(log, definitions, run, "reserve", by="ann"))
    site.step(run, "reserve", epoch=1)
    request_cancel(log, run, by="bob", reason="wrong again")
    assert site.step(run, "pay", epoch=1).reason == "cancelled"
    assert site.unwind(run, epoch=1) == "succeeded"
    assert site.close(run, epoch=1).reason == "compensated: cancelled by bob: wrong again"
    with pytest.raises(PermanentError, match="has ended"):
        request_cancel(log, run, by="ann")


def test_a_run_that_ended_cannot_be_cancelled(site: Site) -> None:
    run = broken(site)
    site.close(run)
    with pytest.raises(PermanentError, match="has ended"):
        request_cancel(site.services.log, run, by="ann")
    with pytest.raises(PermanentError, match="There is no run"):
        request_cancel(site.services.log, "order/none", by="ann")


def test_a_compensation_that_hangs_is_cut_off_and_the_run_is_stuck(site: Site) -> None:
    source = AUTOMATION.replace("retry: {times: 2, delay: 0s}", "retry: {times: 0}, timeout: 1s")
    run = broken(site, "ship", source=source)
    depot().hanging.add("pay")
    assert site.unwind(run) == "failed"
    depot().hanging.clear()
    assert "longer than" in site.state(run).stuck.error["message"]
    (notice,) = site.services.notices.outbox.entries()
    assert (notice.target, "muster resume" in notice.text) == ("#stuck", True)
