"""Promises of undoing that cannot go on: wherever it stops people are told, and a person can have it go on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from muster.errors import PermanentError
from muster.events.personal import Vault
from muster.events.replay import replay
from muster.execution.references import WorkRef
from muster.operations.cancelling import request_cancel
from muster.operations.forgetting import forget
from muster.operations.redoing import order, plan_redrive, plan_restart
from muster.saga import unwinding
from muster.saga.closing import close_run
from muster.saga.resuming import resume
from support.runs import MASTER, Site
from support.sources import source_of

SKILLS = source_of(__file__, "stopping")
pytestmark = pytest.mark.skills(depot=SKILLS)
UNDO = "compensate: {skill: depot.undo, with: {said: '{{ output }}'}}"
UNDO_ITEM = "compensate: {skill: depot.undo, with: {said: '{{ output }}', item: '{{ item }}'}}"
UNDO_FORGOTTEN = "compensate: {skill: depot.undo, with: {item: '{{ item }}'}}"
PLAIN = f"""automation: order
incidents: [{{slack: "#stuck"}}]
steps:
  - {{id: one, skill: depot.act, with: {{name: one}}, {UNDO}}}
  - {{id: two, skill: depot.act, with: {{name: two}}, {UNDO}}}
  - {{id: last, skill: depot.act, with: {{name: last}}}}
"""
LISTED = f"""automation: order
incidents: [{{slack: "#stuck"}}]
steps:
  - {{id: names, skill: depot.names}}
  - {{id: each, each: "{{{{ steps.names }}}}", skill: depot.act, with: {{name: "{{{{ item }}}}"}}, {UNDO_ITEM}}}
  - {{id: last, skill: depot.act, with: {{name: last}}}}
"""
PERSONAL = f"""automation: order
incidents: [{{slack: "#stuck"}}]
inputs: {{who: {{type: string}}, names: {{type: array}}}}
personal: {{subject: "{{{{ inputs.who }}}}", fields: [inputs.names]}}
steps:
  - {{id: each, each: "{{{{ inputs.names }}}}", skill: depot.act, with: {{name: "{{{{ item }}}}"}}, {UNDO_FORGOTTEN}}}
  - {{id: last, skill: depot.act, with: {{name: last}}}}
"""


def depot(site: Site) -> Any:
    import sys

    from muster.skills.registry import get_skill

    get_skill("depot.act", site.services.site)
    return sys.modules["muster_site.depot"]


def broken(site: Site, source: str = PLAIN, **inputs: Any) -> str:
    """A run whose last step broke."""
    run = site.open(site.definition(source), **inputs)
    depot(site).broken.add("last")
    for step in ("one", "two"):
        if f"id: {step}" in source:
            site.step(run, step)
    return run


def close(site: Site, run: str, *, epoch: int = 0) -> Any:
    """As Airflow's task closes a run."""
    return site.do(close_run(site.services, WorkRef(run=run, step="close", epoch=epoch), {}))


def begin(site: Site, run: str) -> None:
    site.do(unwinding.begin(site.services, WorkRef(run=run, step="begin"), {}))


def undo(site: Site, run: str, step: str, *, epoch: int = 0) -> Any:
    return site.do(unwinding.compensate(site.services, WorkRef(run=run, step=step, epoch=epoch)))


def told(site: Site) -> list[str]:
    return [entry.text for entry in site.services.notices.outbox.entries()]


def types(site: Site, run: str) -> list[str]:
    return [event.type for event in site.services.log.read(run)]


def test_where_undoing_stopped_without_a_word_people_are_told_and_a_person_can_have_it_go_on(site: Site) -> None:
    run = broken(site)
    site.step(run, "last")
    begin(site, run)
    assert undo(site, run, "two").status == "succeeded"
    # A person marks the task that undoes `one` in Airflow, or it dies for good: it says nothing.
    assert close(site, run).reason == "stuck: step last failed: last is broken"
    stuck = site.state(run).stuck
    assert stuck is not None
    assert (stuck.step, stuck.index, stuck.epoch) == ("one", None, 0)
    assert "stopped without a word" in stuck.error["message"]
    (text,) = told(site)
    assert f"muster resume {run}" in text
    assert replay(site.services.database, run).differences == []
    before = types(site, run)
    close(site, run)
    assert (types(site, run), len(told(site))) == (before, 1)

    resume(site.services.log, run, by="ada")
    assert undo(site, run, "one", epoch=1).status == "succeeded"
    close(site, run, epoch=1)
    assert site.state(run).status == "compensated"
    assert [name for name, _, _ in depot(site).undone] == ["two", "one"]


def test_where_undoing_stopped_without_a_word_a_person_can_say_that_it_is_done(site: Site) -> None:
    run = broken(site)
    site.step(run, "last")
    begin(site, run)
    close(site, run)
    resume(site.services.log, run, by="ada", by_hand=True)
    assert undo(site, run, "two", epoch=1).status == "skipped"
    assert undo(site, run, "one", epoch=1).status == "succeeded"
    close(site, run, epoch=1)
    assert site.state(run).status == "compensated"
    assert [name for name, _, _ in depot(site).undone] == ["one"], "what a person did is not done again"


def test_undoing_that_stops_again_is_said_again(site: Site) -> None:
    run = broken(site)
    site.step(run, "last")
    begin(site, run)
    close(site, run)
    resume(site.services.log, run, by="ada")
    close(site, run, epoch=1)
    assert len(told(site)) == 2
    resume(site.services.log, run, by="ada")
    for step in ("two", "one"):
        undo(site, run, step, epoch=2)
    close(site, run, epoch=2)
    assert site.state(run).status == "compensated"


def test_what_a_compensation_needs_and_nobody_can_read_any_more_makes_the_run_stuck(site: Site) -> None:
    run = broken(site, PERSONAL.replace(UNDO_FORGOTTEN, UNDO_ITEM), who="bob", names=["a", "b"])
    site.all_of(run, "each")
    forget(site.services.database, Vault(lambda: MASTER), "bob", by="ann")
    site.step(run, "last")
    assert site.unwind(run) == "failed"
    assert close(site, run).reason.startswith("stuck: ")
    assert len(told(site)) == 1


def test_a_compensation_that_said_why_it_failed_is_not_said_to_have_stopped_without_a_word(site: Site) -> None:
    run = broken(site, PLAIN.replace("with: {said: '{{ output }}'}", "with: {said: '{{ output.x.y }}'}", 1))
    site.step(run, "last")
    begin(site, run)
    undo(site, run, "two")
    assert undo(site, run, "one").status == "failed"
    close(site, run)
    assert types(site, run).count("run.stuck") == 1
    assert len(told(site)) == 1


def test_closing_a_run_in_airflow_tells_people_where_undoing_stopped(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from muster_airflow.triggers.work import CloseTrigger

    async def nothing(trigger: CloseTrigger) -> dict[str, str | None]:
        return {}

    monkeypatch.setattr("muster_airflow.triggers.task_states.task_states", nothing)
    run = broken(site)
    site.step(run, "last")
    begin(site, run)
    site.do(CloseTrigger().work(site.services, WorkRef(run=run, step="close")))
    assert len(told(site)) == 1


def performed(site: Site, run: str, *, epoch: int = 0) -> None:
    site.step(run, "names", epoch=epoch)
    site.all_of(run, "each", epoch=epoch)


def restarted(site: Site, run: str) -> None:
    order(site.services.log, plan_restart(site.services.log, site.services.definitions, run, "names", by="ada"))


def test_items_of_a_list_that_has_become_another_are_undone_as_what_they_were(site: Site) -> None:
    depot(site).names[:] = ["a", "b", "c"]
    run = broken(site, LISTED)
    depot(site).broken.clear()
    performed(site, run)
    site.step(run, "last")
    close(site, run)
    depot(site).names[:] = ["x"]
    restarted(site, run)
    with pytest.raises(PermanentError, match="another item of its list"):
        performed(site, run, epoch=1)
    site.step(run, "last", epoch=1)
    assert site.unwind(run, epoch=1) == "succeeded"
    close(site, run, epoch=1)
    assert site.state(run).status == "compensated"
    assert sorted(depot(site).undone) == [("each[0]", "A", "a"), ("each[1]", "B", "b"), ("each[2]", "C", "c")]


def test_items_are_undone_as_what_they_were_where_the_new_list_was_never_laid_out(site: Site) -> None:
    depot(site).names[:] = ["a", "b"]
    run = broken(site, LISTED)
    depot(site).broken.clear()
    performed(site, run)
    site.step(run, "last")
    close(site, run)
    depot(site).names[:] = ["x", "y"]
    restarted(site, run)
    site.step(run, "names", epoch=1)
    request_cancel(site.services.log, run, by="ada")
    assert site.unwind(run, epoch=1) == "succeeded"
    assert sorted(depot(site).undone) == [("each[0]", "A", "a"), ("each[1]", "B", "b")]


def test_items_of_a_list_that_was_forgotten_are_left_to_people(site: Site) -> None:
    run = broken(site, PERSONAL, who="bob", names=["a", "b"])
    site.all_of(run, "each")
    forget(site.services.database, Vault(lambda: MASTER), "bob", by="ann")
    site.step(run, "last")
    assert site.unwind(run) == "failed"
    close(site, run)
    assert site.state(run).status == "stuck"
    assert depot(site).undone == [], "the wrong thing could be undone without what was forgotten"


@pytest.mark.parametrize("source", [PLAIN, LISTED])
def test_what_cannot_even_be_laid_out_to_be_undone_is_a_compensation_that_failed(
    site: Site, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    depot(site).names[:] = ["a", "b"]
    run = broken(site, source)
    if source == LISTED:
        performed(site, run)
    site.step(run, "last")
    begin(site, run)

    def gone(*args: Any) -> Any:
        raise ValueError("the types of its outputs are gone")

    step = "two" if source == PLAIN else "each"
    with monkeypatch.context() as patch:
        patch.setattr(unwinding, "variables_for", gone)
        assert undo(site, run, step).status == "failed"
    close(site, run)
    state = site.state(run)
    assert state.stuck is not None
    assert (state.status, state.stuck.step, state.stuck.index) == ("stuck", step, None if source == PLAIN else 0)
    assert "types of its outputs are gone" in state.stuck.error["message"]
    assert len(told(site)) == 1
    resume(site.services.log, run, by="ada", by_hand=True)
    undo(site, run, step, epoch=1)
    if source == PLAIN:
        undo(site, run, "one", epoch=1)
    close(site, run, epoch=1)
    assert site.state(run).status == "compensated"
    assert [name for name, _, _ in depot(site).undone] == (["one"] if source == PLAIN else ["each[1]"])


def test_a_compensation_whose_skill_is_gone_is_one_that_failed(site: Site, tmp_path: Path) -> None:
    run = broken(site)
    site.step(run, "last")
    begin(site, run)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    outcome = asyncio.run(unwinding.compensate(replace(site.services, site=elsewhere), WorkRef(run=run, step="two")))
    assert outcome.status == "failed"
    assert len(told(site)) == 1


def test_what_is_done_again_in_a_run_that_was_cancelled_is_not_cancelled(site: Site) -> None:
    depot(site).names[:] = ["a", "b"]
    run = site.open(site.definition(LISTED.replace(f", {UNDO_ITEM}", "")))
    depot(site).broken.add("b")
    performed(site, run)
    log, definitions = site.services.log, site.services.definitions
    request_cancel(log, run, by="ann", reason="enough")
    assert site.step(run, "last").reason == "cancelled"
    site.unwind(run)
    close(site, run)
    assert site.state(run).status == "failed"
    depot(site).broken.clear()
    order(log, plan_redrive(log, definitions, run, {"each": [1]}, by="bob"))
    site.expand(run, "each", epoch=1)
    assert site.step(run, "each", 1, epoch=1).status == "succeeded"
    assert site.step(run, "last", epoch=1).status == "succeeded"
    assert site.unwind(run, epoch=1) == "skipped"
    close(site, run, epoch=1)
    assert (site.state(run).status, site.state(run).cancelled_by) == ("succeeded", None)
    replayed = replay(site.services.database, run)
    assert (replayed.differences, replayed.state.cancel_reason) == ([], None)


def test_what_is_done_again_can_be_cancelled_again(site: Site) -> None:
    depot(site).names[:] = ["a", "b"]
    run = site.open(site.definition(LISTED.replace(f", {UNDO_ITEM}", "")))
    depot(site).broken.add("b")
    performed(site, run)
    log, definitions = site.services.log, site.services.definitions
    request_cancel(log, run, by="ann")
    close(site, run)
    order(log, plan_redrive(log, definitions, run, {"each": [1]}, by="bob"))
    request_cancel(log, run, by="ann")
    site.expand(run, "each", epoch=1)
    assert site.step(run, "last", epoch=1).reason == "cancelled"
    close(site, run, epoch=1)
    with pytest.raises(PermanentError, match="has ended"):
        request_cancel(log, run, by="ann")
