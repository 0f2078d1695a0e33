"""What is personal is rehearsed as it runs: sealed before it is written."""

from __future__ import annotations

from pathlib import Path

from muster.database import Database
from muster.events.log import EventLog
from muster.rehearsal.playing import Playing
from muster.rehearsal.script import Case
from support.runs import Site

AUTOMATION = """
automation: tested
inputs: {who: {type: string}}
personal: {subject: "{{ inputs.who }}", fields: [inputs.who, steps.greet.output]}
steps:
  - {id: greet, skill: people.greet, with: {who: "{{ inputs.who }}"}}
  - {id: again, skill: people.greet, with: {who: "{{ steps.greet }}"}}
"""
SKILLS = """
from muster.skills import skill

@skill("people.greet", lane="async")
async def greet(who: str) -> str:
    '''Greet.'''
    return f"Hello {who}"
"""


def test_personal_data_is_sealed_and_opened_in_a_rehearsal_too(tmp_path: Path, database: Database) -> None:
    site = Site(tmp_path, database)
    site.skills("people", SKILLS)
    case = Case(name="greeting", inputs={"who": "Jane Roe"})
    playing = Playing(site.definition(AUTOMATION), case, database, tmp_path / "files", site.services.site)
    state = site.do(playing.play())
    assert state.status == "succeeded"
    assert state.step("again").output == "Hello Hello Jane Roe", "opened for what works with it"
    assert "Jane Roe" not in str([event.data for event in EventLog(database).read(playing.run)])
