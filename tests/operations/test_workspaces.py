"""Workspaces that a killed process left are removed by what the log says of their work."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from muster.isolation.workspaces import FOLDER, NOTE, make
from muster.operations.reconciling import Scope
from muster.operations.workspaces import clear_workspaces
from support.runs import Site

SOURCE = """
automation: works
steps:
  - id: work
    agent: worker
    ask: Do it.
"""
AGENTS = "department: works\nagents:\n  - { id: worker, role: Works., offline: work.do }\n"
SKILLS = "from muster.skills.registry import skill\n\n@skill('work.do')\ndef do() -> int:\n    return 1\n"
MAKES = (
    "import os, sys; from pathlib import Path; from muster.isolation.workspaces import make\n"
    "made = make(Path(sys.argv[1]), run=sys.argv[2], step='work', index=None, key='work')\n"
    "made.leave(keep=True) if sys.argv[3] else os._exit(9)"
)


@pytest.fixture
def works(site: Site) -> Site:
    site.agents(AGENTS)
    site.skills("work", SKILLS)
    return site


def made(site: Site, run: str, *, kept: bool = False) -> Any:
    """A workspace whose maker is gone."""
    folder = site.services.workspace(run)
    subprocess.run([sys.executable, "-c", MAKES, str(folder), run, "kept" * kept], check=kept)
    return next((folder / FOLDER).glob("*"))


def clear(site: Site, *, later: timedelta = timedelta(0)) -> int:
    scope = Scope(database=site.services.database, airflow=None, now=datetime.now(UTC) + later)  # type: ignore[arg-type]
    return len(clear_workspaces(scope, site.services.artifacts))


def test_a_workspace_stays_while_its_work_may_be_at_it_and_is_removed_once_that_has_ended(works: Site) -> None:
    run = works.open(works.definition(SOURCE))
    folder = made(works, run)
    assert clear(works) == 0
    works.step(run, "work")
    assert clear(works) == 1
    assert not folder.exists()


def test_a_workspace_of_a_run_that_nobody_goes_on_with_is_removed_after_a_day(works: Site) -> None:
    folder = made(works, works.open(works.definition(SOURCE)))
    assert clear(works, later=timedelta(hours=23)) == 0
    assert clear(works, later=timedelta(hours=25)) == 1
    assert not folder.exists()


def test_one_that_was_to_be_kept_stays_for_a_week_after_its_run(works: Site) -> None:
    run = works.open(works.definition(SOURCE))
    folder = made(works, run, kept=True)
    assert clear(works, later=timedelta(days=30)) == 0
    works.step(run, "work")
    works.close(run)
    assert clear(works, later=timedelta(days=6)) == 0
    assert clear(works, later=timedelta(days=8)) == 1
    assert not folder.exists()


def test_one_that_somebody_works_in_stays(works: Site) -> None:
    workspace = make(works.services.workspace("gone/1"), run="gone/1", step="work", index=None, key="work")
    assert clear(works) == 0
    workspace.leave(keep=False)
    assert not workspace.folder.exists()
    lost = made(works, "gone/2")
    assert (lost / NOTE).exists()
    assert clear(works) == 1
