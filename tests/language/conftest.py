"""A small site that tests write automations into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from muster.language import Catalogue, Definition, agent_examples, examples, load_folder

Write = Callable[[str, str], Path]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the example's skills, agents and settings, and no automation."""
    root = tmp_path / "include"
    for name, text in {
        "skills/office.py": examples.SKILLS,
        "settings.yaml": examples.SETTINGS,
        "agents/office.yaml": agent_examples.AGENTS,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "automations").mkdir()
    return root


@pytest.fixture
def write(site: Path) -> Write:
    """Writes a file into the site; the name is relative to it."""

    def write_file(name: str, text: str) -> Path:
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
        return path

    return write_file


@pytest.fixture
def define(site: Path, write: Write) -> Callable[[str], Definition]:
    """The definition of one automation, which must be valid."""

    def define_text(text: str) -> Definition:
        write("automations/a.yaml", text)
        catalogue = load_folder(site)
        assert [str(problem) for problem in catalogue.problems] == []
        return next(iter(catalogue.definitions.values()))

    return define_text


@pytest.fixture
def problems(site: Path, write: Write) -> Callable[[str], list[str]]:
    """What is said of one automation: `line:column: message suggestion` for each problem."""

    def problems_of(text: str) -> list[str]:
        write("automations/a.yaml", text)
        catalogue: Catalogue = load_folder(site)
        assert catalogue.definitions == {}
        return [f"{p.line}:{p.column}: {p.message} {p.suggestion or ''}".strip() for p in catalogue.problems]

    return problems_of
