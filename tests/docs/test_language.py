"""The page about the language has an example for every key, and what it says of steps is what comes of them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from inspect import get_annotations
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from muster.agents.spec import AgentFile
from muster.database import Database
from muster.events.state import RunState
from muster.execution.checking import broken_checks
from muster.language import Catalogue, agent_examples, examples, load_folder
from muster.language.automation import Automation, FolderDefaults
from muster.language.kinds import KIND_KEYS, KINDS
from muster.language.source import parse_source
from muster.rehearsal.script import Case, Mock, Script
from muster.rehearsal.stage import Stage
from support.documents import ROOT, anchors, blocks, prose

PAGE = ROOT / "docs" / "language.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES: dict[str, type[BaseModel]] = {"_defaults.yaml": FolderDefaults, "agents/office.yaml": AgentFile}
"""The files of the page that are no automations, by how their names end."""
AUTOMATIONS = (examples.FIRST, *examples.KINDS.values(), *examples.MORE)
Key = tuple[str, str]
"""A model's name, and one of its fields."""


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model that a field can hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def owner(model: type[BaseModel], field: str) -> Key:
    """The key, under the name of the model that declares it: all steps share those of their base."""
    return next(base for base in reversed(model.__mro__) if field in get_annotations(base)).__name__, field


def all_keys() -> set[Key]:
    """Every key of the language."""
    found: set[Key] = set()
    waiting, seen = [Automation, *FILES.values(), *(kind.model for kind in KINDS.values())], set[type[BaseModel]]()
    while waiting:
        model = waiting.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            found.add(owner(model, name))
            waiting += models_in(field.annotation)
    return found


def keys_of(value: Any) -> Iterator[Key]:
    """Every key that was written."""
    if isinstance(value, BaseModel):
        for name in value.model_fields_set:
            yield owner(type(value), name)
            yield from keys_of(getattr(value, name))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from keys_of(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from keys_of(inner)


def shown() -> Iterator[BaseModel]:
    """Every file of the page, read as what it is."""
    for block in blocks("yaml"):
        first = block.text.partition("\n")[0].removeprefix("# ")
        if block.page != PAGE or first == "settings.yaml" or first.endswith("_letter.yaml"):
            continue
        model = next((model for name, model in FILES.items() if first.endswith(name)), Automation)
        data = parse_source(block.text.encode()).data
        if "extends" in data:
            # A step that only changes one of the other file is none by itself.
            data["steps"] = [step for step in data["steps"] if step.keys() & KIND_KEYS.keys()]
        yield model.model_validate(data)


def test_every_key_of_the_language_has_an_example_on_the_page() -> None:
    written = {key for file in shown() for key in keys_of(file)}
    assert all_keys() - written == set()
    assert len(all_keys()) > 100


def test_each_link_within_the_page_leads_to_one_heading() -> None:
    headings = anchors(PAGE)
    assert sorted({name for name in headings if headings.count(name) > 1}) == []
    links = set(re.findall(r"\]\(#([^)]+)\)", prose(PAGE)))
    assert links - set(headings) == set()
    assert {"compensate", "retry", "triggers-schedule", *KINDS} <= links


def table(heading: str) -> list[list[str]]:
    """The rows of the first table whose header begins with these words, cell by cell."""
    [_, found] = TEXT.split(f"\n| {heading} |", 1)
    lines = found.splitlines()[2:]
    rows = lines[: next(number for number, line in enumerate(lines) if not line.startswith("|"))]
    return [re.split(r" *\| *", row)[1:-1] for row in rows]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """The site of the page, without its shared defaults."""
    files = {"skills/office.py": examples.SKILLS, "settings.yaml": examples.SETTINGS}
    files["agents/office.yaml"] = agent_examples.AGENTS
    for text in AUTOMATIONS:
        files[f"automations/{parse_source(text.encode()).data['automation']}.yaml"] = text
    for name, text in files.items():
        (tmp_path / "include" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "include" / name).write_text(text)
    found = load_folder(tmp_path / "include")
    assert not found.problems
    return found


async def play(catalogue: Catalogue, folder: Path, server: str, name: str, **case: Any) -> RunState:
    """A run of an automation of the page, played as a rehearsal plays it."""
    stage = Stage(server, folder / "files", folder / "include" / "skills", catalogue.definitions)
    played = Case(name="shown", **case)
    try:
        await stage.prepare(Script(automation=name, cases=[played]), {})
        async with stage.playing(catalogue.definitions[name], played) as playing:
            return await playing.play()
    finally:
        await stage.leave()
        stage.close()


def shape(value: Any) -> Any:
    """What a value is made of: the keys and types, and of lists the first item."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def stated() -> dict[str, Any]:
    """What the page says that each kind puts out, by its example."""
    rows = {
        name.partition("]")[0].strip("["): example.strip("`")
        for name, _, example in table("kind | what it puts out | for example")
    }
    return {name: json.loads(example) for name, example in rows.items()}


def test_every_kind_of_step_is_in_the_table_of_outputs() -> None:
    assert list(stated()) == list(KINDS)


@pytest.mark.parametrize("text", AUTOMATIONS, ids=lambda text: text.split()[1])
async def test_every_automation_of_the_page_succeeds(
    text: str, catalogue: Catalogue, tmp_path: Path, postgres: str
) -> None:
    definition = catalogue.definitions[text.split()[1]]
    uri = "letters/1.txt"
    given: dict[str, Any] = {"letters": [uri], "uri": uri, "letter": uri, "customer": "ada", "boss": "office-lead"}
    letter = {"uri": uri, "amount": "1", "sender": "post@example.com"}
    given["plan"] = [{"id": "sum_up", "ask": "Sum it up.", "needs": ["summaries"], "with": {"letter": letter}}]
    given["led"] = False
    mocks = {
        step.id: Mock(output="done") for step in definition.steps if KINDS[step.kind].resolved.done_by == "airflow"
    }
    inputs = {name: given[name] for name in definition.inputs}
    state = await play(catalogue, tmp_path, postgres, definition.name, inputs=inputs, mocks=mocks)
    assert state.status == "succeeded", state.reason


def test_the_checks_of_the_page_hold_where_nothing_is_wrong(
    catalogue: Catalogue, tmp_path: Path, database: Database
) -> None:
    definition = catalogue.definitions["file_the_post"]
    site = tmp_path / "include" / "skills"
    broken = asyncio.run(broken_checks(definition, database, artifacts=tmp_path, site=site, now=datetime.now(UTC)))
    assert [(check.check, check.text) for check in broken] == []
    assert len(definition.checks) == 2


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.resolved.done_by != "airflow"])
async def test_a_step_puts_out_what_the_page_says(
    kind: str, catalogue: Catalogue, tmp_path: Path, postgres: str
) -> None:
    name = parse_source(examples.KINDS[kind].encode()).data["automation"]
    definition = catalogue.definitions[name]
    given = {"uri": "letters/1.txt", "letters": ["letters/1.txt"]}
    inputs = {key: value for key, value in given.items() if key in definition.inputs}
    state = await play(catalogue, tmp_path, postgres, name, inputs=inputs)
    assert state.status == "succeeded", state.reason
    step = next(step for step in definition.steps if step.kind == kind)
    assert shape(state.step(step.id).output) == shape(stated()[kind])


def ended(state: RunState, step: str, index: int | None = None) -> str:
    """How a step or an item ended, as the page writes it; nothing when it has no state of its own."""
    found = state.step(step)
    work = found.whole if index is None else found.items.get(index)
    return "" if work is None else work.status


@pytest.mark.parametrize(("column", "answer"), [(1, "approve"), (2, "reject")])
async def test_an_answer_does_to_each_step_what_the_page_says(
    column: int, answer: str, catalogue: Catalogue, tmp_path: Path, postgres: str
) -> None:
    case = {"inputs": {"uri": "letters/1.txt"}, "answers": {"approve": answer}}
    state = await play(catalogue, tmp_path, postgres, "answer_letter", **case)
    said = {row[0].strip("`"): row[column] for row in table("step | approved")}
    assert {step: ended(state, step) for step in said} == said
    assert state.status == "succeeded"


LETTERS = ["0.txt", "1.txt", "111111.txt"]


async def test_items_that_are_set_aside_or_skipped_end_as_the_page_says(
    catalogue: Catalogue, tmp_path: Path, postgres: str
) -> None:
    state = await play(catalogue, tmp_path, postgres, "check_letters", inputs={"letters": LETTERS})
    rows = table("step | `0.txt`")
    for step, *endings, _ in rows:
        assert [ended(state, step.strip("`"), index) for index in range(3)] == endings
    assert state.step("file").output == json.loads(rows[-1][4].strip("`"))
    assert [letter is not None for letter in state.step("check").output or []] == [False, True, True]
    assert state.status == "succeeded"


def mended(folder: Path, old: str, new: str) -> None:
    """Replace something in the skills of the page."""
    path = folder / "include" / "skills" / "office.py"
    assert old in examples.SKILLS
    path.write_text(examples.SKILLS.replace(old, new))


async def test_an_item_that_fails_fails_the_run_and_leaves_what_was_done(
    catalogue: Catalogue, tmp_path: Path, postgres: str
) -> None:
    mended(tmp_path, "raise SetAside(", "raise ValueError(")
    state = await play(catalogue, tmp_path, postgres, "check_letters", inputs={"letters": LETTERS})
    assert [ended(state, "check", index) for index in range(3)] == ["failed", "succeeded", "succeeded"]
    assert (ended(state, "file", 1), state.status) == ("succeeded", "failed")


async def test_a_step_that_fails_undoes_what_can_be_undone(catalogue: Catalogue, tmp_path: Path, postgres: str) -> None:
    mended(tmp_path, 'return f"{folder}/{letter.uri}"', 'raise ValueError("full")')
    for name, file, run in (("pay_letters", "undone", "compensated"), ("check_letters", "failed", "failed")):
        state = await play(catalogue, tmp_path, postgres, name, inputs={"letters": LETTERS})
        assert (ended(state, "file"), ended(state, "read"), state.status) == (file, "succeeded", run)


async def test_a_compensation_gets_what_the_step_gave_back(catalogue: Catalogue, tmp_path: Path, postgres: str) -> None:
    here = '    assert place == "sorted/letters/1.txt", place\n'
    mended(tmp_path, 'place there is nothing to do."""\n', f'place there is nothing to do."""\n{here}')
    case = {"inputs": {"uri": "letters/1.txt"}, "mocks": {"sum_up": Mock(fails="No ink.")}}
    state = await play(catalogue, tmp_path, postgres, "file_and_sum_up", **case)
    assert (ended(state, "file"), state.status) == ("undone", "compensated")
