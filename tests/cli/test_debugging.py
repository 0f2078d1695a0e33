"""On the command line: which decision of a run would be another today."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from muster.events.log import EventLog
from muster.operations.newer import Version
from muster.operations.redoing import order, plan_restart
from support.command import Muster, read
from support.run_events import opened
from support.runs import Site

AUTOMATION = """
automation: tested
inputs: {n: {type: integer}}
steps:
  - {id: small, when: "{{ inputs.n < 5 }}", skill: desk.note}
"""
SKILLS = '''
from muster.skills import skill

@skill("desk.note")
def note() -> str:
    """Notes."""
    return "noted"
'''


@pytest.fixture
def run(database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> str:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    for folder in ("skills", "agents"):
        (project / "include" / folder).mkdir()
    site = Site.of(project / "include", database, project / "artifacts")
    site.skills("desk", SKILLS)
    return site.run(site.definition(AUTOMATION), n=3)


def test_a_changed_yaml_is_told_and_the_run_s_own_version_agrees(muster: Muster, run: str, project: Path) -> None:
    shown = muster("debug", run)
    assert (shown.exit_code, "Every decision is as it was" in shown.stdout) == (0, True), shown.output
    file = project / "include" / "automations" / "tested.yaml"
    file.write_text(AUTOMATION.replace("< 5", "> 5"))
    shown = muster("debug", run)
    assert shown.exit_code == 1
    for said in ("small, whether it goes ahead", "recorded  goes ahead", "today     skipped: when", "another YAML"):
        assert said in shown.stdout, said
    told = muster("debug", run, "--json")
    assert (told.exit_code, read(told)["first"]["today"]) == (1, "skipped: when")
    assert muster("debug", run, "--own").exit_code == 0
    file.write_text("automation: tested\nsteps: [{id: 1}]\n")
    broken = muster("debug", run)
    assert (broken.exit_code, "--own" in broken.output) == (1, True)
    file.unlink()
    gone = read(muster("debug", run, "--json"))
    assert (gone["with"], gone["differences"]) == ("its own version: its YAML is gone", [])


def test_a_run_that_is_not_there_or_whose_definition_is_gone_is_said(
    muster: Muster, run: str, database: Database
) -> None:
    assert "There is no run 'nowhere'" in muster("debug", "nowhere").output
    EventLog(database).append("tested/lost", [opened(definition="f" * 64)])
    shown = muster("debug", "tested/lost")
    assert (shown.exit_code, "There is no definition ffff" in shown.output) == (1, True)


def test_a_run_that_went_on_with_another_version_is_judged_by_neither(
    muster: Muster, run: str, database: Database, project: Path
) -> None:
    site = Site.of(project / "include", database, project / "artifacts")
    log, definitions = site.services.log, site.services.definitions
    now = Version(site.definition(AUTOMATION.replace("< 5", "< 4")), "v2")
    order(log, plan_restart(log, definitions, run, "small", by="ada", now=now))
    for how in ((), ("--own",)):
        shown = muster("debug", run, *how)
        assert (shown.exit_code, "by two of them" in shown.output) == (1, True), shown.output
