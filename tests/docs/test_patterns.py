"""Each pattern of coordination on its page is an automation that does what the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.language import load_folder
from muster.language.source import parse_source
from muster.rehearsal.script import Case, Script
from muster.rehearsal.stage import Stage
from support.documents import ROOT, Block, blocks

PAGE = ROOT / "docs" / "agents" / "workflows" / "multi_agent_coordination_patterns.md"
BLOCKS = [block for block in (*blocks("yaml"), *blocks("python")) if block.page == PAGE]
GIVEN = {"topic": "tea", "offers": ["tea", "coffee"], "goal": "tea and coffee"}
FACTS, NOTE = "tea and coffee: known", "note on tea and coffee: known"
MANAGED: dict[str, Any] = {
    "plan": {
        "tasks": [
            {
                "id": "facts",
                "ask": "Find facts: tea and coffee",
                "needs": ["research"],
                "with": {"topic": "tea and coffee"},
            },
            {"id": "note", "ask": "Write a note.", "needs": ["writing"], "uses": {"facts": "facts"}},
        ]
    },
    "facts": FACTS,
    "note": NOTE,
    "review_1": {"accepted": False, "back": [{"task": "note", "remarks": "short"}]},
    "note_r2": f"short {NOTE}",
    "review_2": {"accepted": True, "back": []},
}
PLANNED = MANAGED["plan"]["tasks"]
EXPLORED: dict[str, Any] = {
    "turn_1": {"done": False, "next": PLANNED[:1]},
    "facts": FACTS,
    "turn_2": {"done": False, "next": PLANNED[1:]},
    "note": NOTE,
    "turn_3": {"done": True, "next": []},
}
GAVE: dict[str, tuple[str, Any]] = {
    "publish_note": ("check", "checked: note on tea: known"),
    "compare_offers": (
        "compare",
        {"first": "tea: known", "second": "coffee: known", "join": "note on tea: known coffee: known"},
    ),
    "reach_goal": (
        "report",
        "find_1: tea: known\nfind_2: coffee: known\nwrite: note on tea: known\ncheck: checked: note on tea: known",
    ),
    "reach_goal_carefully": (
        "work",
        {
            "find_1": "tea: known",
            "find_2": "coffee: known",
            "write": "note on tea: known",
            "check": "checked: note on tea: known",
        },
    ),
    "chain_note": (
        "chain",
        {"research": "tea: known", "write": "note on tea: known", "check": "checked: note on tea: known"},
    ),
    "gather_notes": (
        "gather",
        {"tea": "tea: known", "coffee": "coffee: known", "join": "tea: known\ncoffee: known"},
    ),
    "manage_note": ("work", {**MANAGED, "merge": "tea and coffee: known\nshort note on tea and coffee: known"}),
    "explore_goal": ("explore", {**EXPLORED, "merge": "tea and coffee: known\nnote on tea and coffee: known"}),
    "note_with_a_person": (
        "finish",
        {
            "write": "note on note on tea: known",
            "check": "checked: note on note on tea: known",
        },
    ),
}


def marked(mark: str) -> list[Block]:
    return [block for block in BLOCKS if mark in block.marks]


@pytest.mark.parametrize("block", marked("pattern"), ids=lambda block: block.text.split()[1])
@pytest.mark.parametrize("answer", ["approve", "reject"])
async def test_a_pattern_does_what_its_page_says(block: Block, answer: str, tmp_path: Path, postgres: str) -> None:
    name = parse_source(block.text.encode()).data["automation"]
    for path, text in {
        "agents/office.yaml": marked("agents")[0].text,
        "skills/teams.py": marked("skills")[0].text,
        f"automations/{name}.yaml": block.text,
    }.items():
        (tmp_path / "include" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "include" / path).write_text(text)
    catalogue = load_folder(tmp_path / "include")
    assert not catalogue.problems, "\n".join(map(str, catalogue.problems))
    definition = catalogue.definitions[name]
    case = Case(
        name="shown",
        inputs={key: GIVEN[key] for key in definition.inputs},
        answers={step.id: answer for step in definition.steps if step.asks},
    )
    stage = Stage(postgres, tmp_path / "files", tmp_path / "include" / "skills", catalogue.definitions)
    try:
        await stage.prepare(Script(automation=name, cases=[case]), {})
        async with stage.playing(definition, case) as playing:
            state = await playing.play()
    finally:
        await stage.leave()
        stage.close()
    step, gave = GAVE[name]
    if case.answers and answer == "reject":
        assert (state.step(step).status, state.step(step).output) == ("skipped", None)
    else:
        assert state.status == "succeeded", state.reason
        assert state.step(step).output == gave


def test_every_pattern_of_the_table_has_an_automation() -> None:
    assert {block.text.split()[1] for block in marked("pattern")} == set(GAVE)
    assert PAGE.read_text().count("| [") == len(GAVE)
