"""Skills are known from their source, without importing it."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from muster.skills.index import Parameter, SkillIndex, scan, skill_index
from muster.skills.registry import get_skill

SOURCE = '''
raise RuntimeError("imported")
from muster.skills import skill
import muster.skills as m

@skill("a.first")
def first(uri: str, *, limit: int = 3, must: bool, context) -> None:
    """Does the first thing.

    At length.
    """

@m.skill("a.second", lane="async", timeout=2.5)
async def second(one, two=None, /, three=1, **rest):
    pass

@other("a.third")
def third(): ...

@skill(NAME)
def fourth(): ...

def helper(): ...
'''


def test_names_lanes_and_parameters_are_read_without_importing(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(SOURCE)
    first, second = scan(path)
    assert (first.name, first.lane, first.timeout, first.is_async) == ("a.first", "worker", None, False)
    assert first.parameters == (
        Parameter("uri", True, "str"),
        Parameter("limit", False, "int"),
        Parameter("must", True, "bool"),
    )
    assert (first.summary, first.line, first.file) == ("Does the first thing.", 7, str(path))
    assert (second.name, second.lane, second.timeout, second.is_async) == ("a.second", "async", 2.5, True)
    assert second.parameters == (Parameter("one", True), Parameter("two", False), Parameter("three", False))
    assert (first.takes_any, second.takes_any) == (False, True)


def test_a_file_that_is_not_python_has_no_skills_and_hides_none(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text('@skill("a.bad"\ndef')
    (tmp_path / "null.py").write_bytes(b'@skill("a.null")\0')
    (tmp_path / "a.py").write_text('@skill("a.good")\ndef good(): ...\n')
    index = SkillIndex(tmp_path)
    assert list(index.entries) == ["a.good"]
    assert index.get("a.good") is not None
    assert index.get("a.bad") is None


@pytest.mark.parametrize("deep", ["-" * 5_000 + "1", "-" * 100_000 + "1", "x" + ".a" * 5_000, "x" + "[0]" * 900])
def test_a_file_too_deeply_nested_to_be_read_hides_no_other_skill(tmp_path: Path, deep: str) -> None:
    (tmp_path / "deep.py").write_text(f'@skill("a.deep")\ndef deep(x: {deep}): ...\n')
    (tmp_path / "a.py").write_text('@skill("a.good")\ndef good(): ...\n')
    index = SkillIndex(tmp_path)
    assert list(index.entries) == ["a.good"]
    assert index.unreadable("a.deep") == f"{tmp_path / 'deep.py'} names it, and is nested too deeply to be read."
    assert index.unreadable("a.good") is None


def test_a_skill_whose_file_cannot_be_read_is_told_from_one_that_nobody_wrote(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text('import os\n\n@skill("a.bad"\ndef bad(): ...\n')
    index = SkillIndex(tmp_path)
    assert index.unreadable("a.bad") == f"{tmp_path / 'bad.py'}:3 names it, and cannot be read: '(' was never closed."
    assert index.unreadable("a.other") is None


def test_an_edit_is_seen_by_the_next_index(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text('@skill("a.one")\ndef one(): ...\n')
    assert list(SkillIndex(tmp_path).entries) == ["a.one"]
    path.write_text('@skill("a.two")\ndef two(): ...\n')
    os.utime(path, ns=(1, 1))
    assert list(SkillIndex(tmp_path).entries) == ["a.two"]


def test_the_entries_are_sorted_and_a_sites_skill_wins(tmp_path: Path) -> None:
    shipped, site = tmp_path / "shipped", tmp_path / "site"
    for folder, names in ((shipped, ["b.x", "a.x"]), (site, ["c.x", "a.x"])):
        folder.mkdir()
        for name in names:
            (folder / f"{name[0]}.py").write_text(f'@skill("{name}")\ndef {name[0]}(): ...\n')
    index = SkillIndex(shipped, site)
    assert list(index.entries) == ["a.x", "b.x", "c.x"]
    assert index.entries["a.x"].file == str(site / "a.py")
    found = index.get("a.x")
    assert found is not None
    assert found.file == str(site / "a.py")


@pytest.mark.parametrize("name", list(skill_index().entries))
def test_the_index_agrees_with_what_importing_a_shipped_skill_says(name: str) -> None:
    entry, skill = skill_index().get(name), get_skill(name)
    assert entry is not None
    assert (entry.lane, entry.timeout, entry.is_async) == (skill.lane, skill.timeout, skill.is_async)
    assert entry.summary == skill.summary
    assert [parameter.name for parameter in entry.parameters] == [
        parameter for parameter in inspect.signature(skill.function).parameters if parameter != "context"
    ]


def test_reading_automations_imports_nothing_heavy() -> None:
    program = (
        "import sys, muster.language; from muster.skills.index import skill_index; skill_index().entries; "
        "heavy = {'airflow', 'psycopg', 'pydantic_ai', 'numpy', 'lxml', 'jsonschema', 'croniter', 'httpx', "
        "'sqlalchemy', 'pdfplumber', 'muster.skills.finance'}; print(sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert output == "[]\n"
