"""What a skill gives back that cannot be looked at, or is no number: the skill has finished and is not done again."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.runs import Site
from support.sources import source_of

pytestmark = pytest.mark.skills(odd=source_of(__file__, "odd_results"))
STEP = """automation: tested
steps:
  - {{id: a, skill: odd.{name}, with: {{journal: {journal}}}, retry: {{times: 2, delay: 0s}}}}
"""


@pytest.mark.parametrize("name", ["proxy", "broken", "no_number", "typed"])
def test_what_has_finished_is_done_once_whatever_it_gives_back(site: Site, tmp_path: Path, name: str) -> None:
    journal = tmp_path / "journal"
    run = site.open(site.definition(STEP.format(name=name, journal=journal)))
    outcome = site.step(run, "a")
    assert (outcome.status, journal.read_text().count("paid")) == ("failed", 1)
    assert "cannot be written to the log" in (outcome.reason or "")
