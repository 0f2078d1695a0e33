"""Promises of a step that runs an Airflow operator; a skill's file of calls tells what came after it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from muster.database import Database
from muster.events.structure import SKIPPED
from muster.local.airflow import connection_json
from muster_airflow.operators.external import external_step
from support.runs import Site

SKILLS = '''
from pathlib import Path
from muster.skills import skill

@skill("office.note", lane="async")
async def note(folder: str, what: str) -> None:
    """Writes down that it was called."""
    with (Path(folder) / "calls").open("a") as file:
        file.write(f"{what}\\n")
'''
HEAD = """
automation: tested
settings: {allowed_operators: ["support.*"]}
inputs: {words: {type: string}, folder: {type: string}}
steps:
"""
SINGLE = """
  - {id: look, operator: support.skipping.SkipsItself, with: {words: "{{ inputs.words }}"}}
  - {id: note, skill: office.note, with: {folder: "{{ inputs.folder }}", what: note}}
"""
FAN_OUT = """
  - id: look
    each: [1, 2]
    operator: support.skipping.SkipsItself
    with: {words: "{{ inputs.words }}"}
  - {id: note, each: [1, 2], pack: all, skill: office.note, with: {folder: "{{ inputs.folder }}", what: note}}
"""


@pytest.fixture
def site(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path / "state"))
    made = Site(tmp_path, database)
    made.skills("office", SKILLS)
    return made


def execute(run: str, step: str, slot: int | None = None) -> None:
    """Execute an operator step as a task process does."""
    dag_id, _, run_id = run.partition("/")
    map_index = -1 if slot is None else slot
    ti = SimpleNamespace(
        dag_id=dag_id, run_id=run_id, task_id=step, map_index=map_index, try_number=1, max_tries=0, bundle_instance=None
    )
    operator = external_step("support.skipping.SkipsItself")(task_id=step, slot=slot)
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(start_date=datetime.now(UTC))}
    operator.execute(context)


@pytest.mark.parametrize("words", [*sorted(SKIPPED), "the file is not there yet", ""])
def test_the_words_of_an_operator_that_skips_itself_are_never_musters_own(
    site: Site, tmp_path: Path, words: str
) -> None:
    run = site.open(site.definition(HEAD + SINGLE), words=words, folder=str(tmp_path))
    with pytest.raises(AirflowSkipException):
        execute(run, "look")
    site.step(run, "note")
    site.close(run)
    assert (tmp_path / "calls").read_text().split() == ["note"], "what comes after it goes ahead, whatever it said"
    state = site.state(run)
    assert (state.status, state.step("look").status) == ("succeeded", "skipped")
    assert words in (state.step("look").whole.reason or "")


@pytest.mark.parametrize("words", sorted(SKIPPED))
def test_so_are_those_of_an_item(site: Site, tmp_path: Path, words: str) -> None:
    run = site.open(site.definition(HEAD + FAN_OUT), words=words, folder=str(tmp_path))
    for slot in range(site.expand(run, "look")):
        with pytest.raises(AirflowSkipException):
            execute(run, "look", slot)
    site.step(run, "note")
    site.close(run)
    assert (tmp_path / "calls").read_text().split() == ["note", "note"]
    assert site.state(run).status == "succeeded"
