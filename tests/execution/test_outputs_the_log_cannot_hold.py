"""Promises of an item whose output the log cannot hold: it has failed, and nothing else has."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from muster.events.model import EventType
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "outputs_the_log_cannot_hold")
STEP = 'skill: office.count, with: {name: "{{ item }}"}'


@pytest.mark.parametrize("pack", ["1", "all"])
def test_an_output_that_the_log_cannot_hold_fails_its_item_alone(tmp_path: Path, database: Database, pack: str) -> None:
    site = Site(tmp_path, database)
    site.skills("office", SKILLS)
    head = "automation: tested\nsteps:\n"
    definition = site.definition(f'{head}  - {{id: one, each: ["a", "b", "c"], pack: {pack}, {STEP}}}\n')
    state = site.state(site.run(definition))
    step = state.step("one")
    assert not step.ended_as_a_whole
    assert [step.items[index].status for index in range(3)] == ["succeeded", "failed", "succeeded"]
    assert "cannot be written to the log" in str((step.items[1].error or {})["message"])
    assert state.reason == "1 of 3 items of step one failed"


@pytest.mark.parametrize("what", ["bytes", "endless", "thing"])
@pytest.mark.parametrize("each", ["", "each: [1], pack: 1, ", "each: [1], pack: all, "], ids=["single", "item", "pack"])
def test_a_skill_whose_result_has_no_form_in_json_is_not_done_again_nor_its_fallback(
    tmp_path: Path, database: Database, each: str, what: str
) -> None:
    site = Site(tmp_path, database)
    site.skills("office", SKILLS)
    given = f"with: {{folder: '{tmp_path}', what: {what}}}"
    step = (
        f"{each}skill: office.give, {given}, retry: {{times: 3, delay: 0s}}, fallback: {{skill: office.give, {given}}}"
    )
    run = site.run(site.definition(f"automation: tested\nsteps:\n  - {{id: one, {step}}}\n"))
    assert (tmp_path / "calls").read_text() == "done\n"
    (failed,) = site.services.log.read(run, types=[EventType.STEP_FAILED])
    assert "The skill office.give has finished, but its result cannot be written" in failed.data["error"]["message"]
    assert not list(site.services.log.read(run, types=[EventType.STEP_RETRIED, EventType.STEP_FELL_BACK]))
