"""What the page about operating says of each part is what the local stack is made of and set to."""

from __future__ import annotations

import re

from muster.local.airflow import COMPONENTS, _tuning
from support.documents import ROOT

PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
PROCESSES = {*COMPONENTS, "PostgreSQL"}
"""What the stack keeps running."""


def parts() -> dict[str, str]:
    """The table of what happens when a part dies: by part, what happens."""
    _, _, rest = PAGE.partition("## What happens when a part dies")
    table, _, _ = rest.partition("\n## ")
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", table, re.MULTILINE)
    return {part.strip(): what.strip() for part, what in rows if part not in ("part", "---")}


def test_every_process_of_the_stack_has_its_line() -> None:
    assert set(parts()) >= PROCESSES
    assert set(parts()) - PROCESSES == {"a task process", "`muster up` itself, even by `kill -9`", "the machine"}


def test_the_processes_that_are_started_again_are_those_it_says() -> None:
    assert {part for part, what in parts().items() if what.startswith("started again")} == PROCESSES


def test_work_of_a_killed_process_is_found_dead_within_the_minute_or_two_it_says() -> None:
    said = "within a minute or two"
    assert said in parts()["a task process"]
    scheduler = _tuning(2)["scheduler"]
    seconds = [scheduler["task_instance_heartbeat_timeout"], scheduler["orphaned_tasks_check_interval"]]
    assert sum(map(float, map(str, seconds))) <= 120


def test_an_edit_is_looked_for_often_enough_for_the_15_seconds_it_says() -> None:
    assert "shows in the UI within 15" in PAGE
    processor = _tuning(2)["dag_processor"]
    # A bundle that is refreshed has its files parsed at once; only the refresh has to be waited for.
    waited = [processor["refresh_interval"], processor["bundle_refresh_check_interval"]]
    assert sum(map(float, map(str, waited))) <= 10, "and a few seconds for parsing"
