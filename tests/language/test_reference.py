"""The documentation is what the models say, and every example in it works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from muster.agents.spec import AgentFile
from muster.language import agent_examples, examples, load_folder
from muster.language.automation import Automation, FolderDefaults
from muster.language.kinds import KINDS
from muster.language.reference import files
from muster.language.schema import SCHEMAS, agents_schema, automation_schema, defaults_schema
from muster.language.source import parse_source

DOCS = Path(__file__).parents[2] / "docs"
Write = Callable[[str, str], Path]


@pytest.mark.parametrize("name", sorted(files()))
def test_the_generated_file_is_up_to_date(name: str) -> None:
    written = (DOCS / name).read_text(encoding="utf-8")
    assert written == files()[name], "run `python -m muster.language.reference docs`"


def yaml_examples() -> Iterator[str]:
    """Every block of YAML in the page."""
    yield from re.findall(
        r"^```yaml\n(.*?)^```", (DOCS / "language.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def test_every_example_of_the_page_loads_and_fits_its_schema(site: Path, write: Write) -> None:
    count = 0
    for text in yaml_examples():
        named = re.match(r"# (\S+\.yaml)\n", text)
        name = named[1] if named else f"automations/office/{parse_source(text.encode()).data['automation']}.yaml"
        write(name, text)
        count += 1
    assert count == len(examples.KINDS) + len(examples.MORE) + 6
    catalogue = load_folder(site)
    assert [str(problem) for problem in catalogue.problems] == []
    assert len(catalogue.definitions) == len(examples.KINDS) + len(examples.MORE) + 2
    assert {step.kind for d in catalogue.definitions.values() for step in d.steps} == set(KINDS)


def test_every_kind_of_step_has_an_example_that_uses_it() -> None:
    assert set(examples.KINDS) == set(KINDS)
    for kind, text in examples.KINDS.items():
        data = parse_source(text.encode()).data
        assert any(step.keys() & {kind, "needs" if kind == "agent" else kind} for step in data["steps"])


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_schemas_are_valid_schemas(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name]())


VALID = [examples.FIRST, *examples.KINDS.values(), *examples.MORE, examples.EXTENDING]


@pytest.mark.parametrize("text", VALID)
def test_the_schema_takes_what_the_language_takes(text: str) -> None:
    assert list(Draft202012Validator(automation_schema()).iter_errors(parse_source(text.encode()).data)) == []


def test_the_schemas_of_agents_and_defaults_take_the_examples() -> None:
    for schema, text in ((agents_schema(), agent_examples.AGENTS), (defaults_schema(), examples.DEFAULTS)):
        assert list(Draft202012Validator(schema).iter_errors(parse_source(text.encode()).data)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"titel": "x"},
        {"budget": {"usd": "much", "eur": 1}},
        {"steps": []},
        {"steps": [{"id": "a"}]},
        {"steps": [{"id": "a", "skill": "a.b", "agent": "c"}]},
        {"steps": [{"id": "a", "ask": "x"}]},
        {"steps": [{"id": "a", "skill": "a.b", "browser": "x"}]},
        {"steps": [{"id": "a", "skill": "a.b", "timeout": "soon"}]},
        {"steps": [{"id": "a", "skill": "a.b", "each": [], "pack": 0}]},
        {"steps": [{"id": "a", "human": {"ask": "x", "assignees": ["a"], "otherwise": "approve"}}]},
        {"triggers": [{"webhook": "x"}]},
        {"automation": "Not a name"},
    ],
)
def test_the_schema_refuses_what_the_language_refuses(change: dict[str, Any]) -> None:
    data = {**parse_source(examples.FIRST.encode()).data, **change}
    assert list(Draft202012Validator(automation_schema()).iter_errors(data))
    with pytest.raises(ValueError, match="validation error"):
        Automation.model_validate(data)


@pytest.mark.parametrize("model", [Automation, FolderDefaults, AgentFile, *(kind.model for kind in KINDS.values())])
def test_every_key_is_documented(model: Any) -> None:
    schema = model.model_json_schema()
    for owner in [schema, *schema.get("$defs", {}).values()]:
        for name, described in owner.get("properties", {}).items():
            assert described.get("description"), f"{owner['title']}.{name}"
