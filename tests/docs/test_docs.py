"""What the documentation shows works: its automations load, its commands exist, its links lead somewhere."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from muster.language import load_folder
from support.documents import ROOT, SHELL, Block, anchors, blocks, pages, prose

AUTOMATIONS = list(blocks("yaml", "yml", mark="automation"))
COMMANDS = [(block, command) for block in blocks(*SHELL) for command in block.commands]
WRITTEN_LATER = {"docs/images/run.png"}
"""Made by the browser test, so absent until it has run once."""


def project(folder: Path) -> Path:
    """A project with the shipped agents, skills and settings, and no automation."""
    include = folder / "include"
    shutil.copytree(ROOT / "include", include, ignore=shutil.ignore_patterns("muster", "automations", "__pycache__"))
    (include / "automations" / "example").mkdir(parents=True)
    return include


@pytest.mark.parametrize("block", AUTOMATIONS, ids=str)
def test_an_automation_in_the_docs_is_valid(block: Block, tmp_path: Path) -> None:
    include = project(tmp_path)
    name = yaml.safe_load(block.text)["automation"]
    (include / "automations" / "example" / f"{name}.yaml").write_text(block.text)
    catalogue = load_folder(include)
    assert [str(problem) for problem in catalogue.problems] == []
    assert name in catalogue.definitions


def test_the_docs_show_automations_at_all() -> None:
    assert {block.page.name for block in AUTOMATIONS} >= {"README.md", "notifications.md"}


def test_the_readmes_example_is_as_short_as_it_says() -> None:
    [example] = [block for block in AUTOMATIONS if block.page == ROOT / "README.md"]
    assert len(example.text.splitlines()) <= 11


@pytest.mark.parametrize("block", [*blocks("yaml", "yml")], ids=str)
def test_yaml_in_the_docs_is_yaml(block: Block) -> None:
    assert list(yaml.safe_load_all(block.text))


@pytest.mark.parametrize("block", [*blocks("python")], ids=str)
def test_python_in_the_docs_is_python(block: Block) -> None:
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.Import):
            for name in node.names:
                assert __import__(name.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            module = __import__(node.module, fromlist=["*"])
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def ids(entries: list[tuple[Block, list[str]]]) -> list[str]:
    """Where each command stands, and its beginning."""
    return [f"{block}-{' '.join(command[:3])}" for block, command in entries]


MUSTER = [(block, command) for block, command in COMMANDS if command[0] == "muster"]
MAKE = [(block, command) for block, command in COMMANDS if command[0] == "make"]


@pytest.mark.parametrize(("block", "command"), MUSTER, ids=ids(MUSTER))
def test_a_muster_command_in_the_docs_exists_with_its_options(block: Block, command: list[str]) -> None:
    import typer.main

    from muster.cli.app import app

    group = typer.main.get_command(app)
    name, arguments = (command[1], command[2:]) if len(command) > 1 else ("--help", [])
    if name.startswith("-"):
        assert any(name in parameter.opts for parameter in group.params) or name in ("-h", "--help")
        return
    assert name in group.commands, f"{block}: there is no `muster {name}`"
    # Parses the arguments and runs nothing; what is unknown or missing raises.
    group.commands[name].make_context(name, list(arguments))


@pytest.mark.parametrize(("block", "command"), MAKE, ids=ids(MAKE))
def test_a_make_target_in_the_docs_exists(block: Block, command: list[str]) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--question", *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No rule to make target" not in done.stderr, f"{block}: {done.stderr}"


@pytest.mark.parametrize("block", [*blocks(*SHELL, mark="run")], ids=str)
def test_what_is_marked_run_runs(block: Block, tmp_path: Path) -> None:
    include = project(tmp_path)
    shutil.copytree(ROOT / "include" / "automations", include / "automations", dirs_exist_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": path, "MUSTER_PROJECT": str(tmp_path)},
        timeout=120,
    )
    assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


def test_files_that_commands_name_are_there() -> None:
    scripts = [
        (str(block), word)
        for block, command in COMMANDS
        if "tutorial" not in block.marks  # its reader has written them
        for word in command
        if re.fullmatch(r"(\.?/)?(\.ci|docker|docs|include|tests)/[\w./-]+", word) and "*" not in word
    ]
    assert [found for found in scripts if not (ROOT / found[1]).exists()] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    assert leading_nowhere(page) == []


def leading_nowhere(page: Path) -> list[str]:
    """The links of a page to files that are not there, and to headings that their page does not have."""
    missing = []
    for link in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", prose(page)):
        name, _, fragment = link.partition("#")
        target = page.parent / name if name else page
        written_later = target.is_relative_to(ROOT) and str(target.relative_to(ROOT)) in WRITTEN_LATER
        if not (target.exists() or written_later) or (fragment and fragment not in anchors(target)):
            missing.append(link)
    return missing


def test_a_link_to_a_file_or_a_heading_that_is_not_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other\n\n## What `it` is: one, two\n\n```sh\n# no heading\n```\n")
    links = [
        "other.md",
        "other.md#what-it-is-one-two",
        "#here",
        "other.md#what",
        "other.md#no-heading",
        "#other",
        "no.md",
    ]
    page = tmp_path / "page.md"
    page.write_text("# Here\n\n" + "\n".join(f"[a link]({link})" for link in links))
    assert leading_nowhere(page) == links[3:]


def test_every_page_is_named_in_the_list_of_guides() -> None:
    """Also the reader who begins there finds it."""
    named = set(re.findall(r"\]\(([\w-]+\.md)\)", prose(ROOT / "docs" / "README.md")))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - named == {"README.md"}


def test_the_wheel_that_is_installed_is_called_as_the_page_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wheel = f"dist/{project['name'].replace('-', '_')}-{project['version']}-py3-none-any.whl"
    patterns = [word for _, command in COMMANDS for word in command if word.endswith(".whl")]
    assert patterns
    assert [pattern for pattern in patterns if not fnmatch(wheel, pattern)] == []
