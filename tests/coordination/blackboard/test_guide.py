"""What the page about shared context shows works."""

from __future__ import annotations

from muster.coordination.blackboard import Board, Keys, Rights, Writer
from muster.coordination.blackboard.keys import Key
from muster.events.model import EventType
from support.documents import ROOT, blocks
from support.runs import Site

PAGE = ROOT / "docs" / "coordination" / "blackboard.md"
PYTHON = [block.text for block in blocks("python") if block.page == PAGE]
YAML = [block.text for block in blocks("yaml") if block.page == PAGE]


def test_what_the_page_shows_works(dsn: str) -> None:
    exec(compile(PYTHON[0], str(PAGE), "exec"), {"DSN": dsn})


def test_the_automation_of_the_page_does_what_it_says(site: Site) -> None:
    (agents, automation), (_, skills) = YAML, PYTHON
    site.agents(agents)
    site.skills("research", skills)
    run = site.run(site.definition(automation))
    state = site.state(run)
    assert state.status == "succeeded"
    assert state.step("research").output["sum_up"] == "steel costs 3, wood costs 2"
    names = frozenset({"facts", "summary", "lessons"})
    keys = Keys({name: Key(of_goal=name == "lessons") for name in names})
    for other in (run, "another/run"):
        board = Board(site.services.database, other, keys, Rights(reads=names), Writer(name="test"), goal="growth")
        found = {key: entry.value for key, entry in board.get_all().items()}
        assert found == {"lessons": ["Ask for both prices at once."]} | (
            {"facts": {"steel": 3, "wood": 2}, "summary": "steel costs 3, wood costs 2"} if other == run else {}
        )
    shown = [event.data["versions"] for event in site.services.log.read(run, types=[EventType.CONTEXT_SHOWN])]
    assert sorted(shown, key=len) == [{}, {}, {"facts": 2}]
