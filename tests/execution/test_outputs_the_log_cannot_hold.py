"""Promises of an item whose output the log cannot hold: it has failed, and nothing else has."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
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
