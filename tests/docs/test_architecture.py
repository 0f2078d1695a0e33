"""The map of the house is the house: each room has its line, its face and its neighbours."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from support.documents import ROOT, blocks
from test_house import ROOMS, SHARED

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FLOORS = {"muster": ROOT / "include" / "muster", "muster_airflow": ROOT / "plugins" / "muster_airflow"}
HEADINGS = {"muster": "Rooms of the domain", "muster_airflow": "Rooms of the Airflow floor"}


@cache
def rows(floor: str) -> Mapping[str, list[str]]:
    """The cells of a floor's table, by the words in the first of them."""
    section = PAGE.partition(f"## {HEADINGS[floor]}\n")[2].partition("\n## ")[0]
    lines = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {first.strip(): [cell.strip() for cell in rest] for first, *rest in lines}


def quoted(cell: str) -> list[str]:
    """The words in backticks."""
    return re.findall(r"`([^`]+)`", cell)


FACES = [
    (floor, room.strip("`/"), face)
    for floor in FLOORS
    for room, cells in rows(floor).items()
    if room.endswith("/`")
    for face in quoted(cells[1])
]


@pytest.mark.parametrize("floor", FLOORS)
def test_every_room_has_a_line_with_its_job_and_its_face(floor: str) -> None:
    there = {path.name for path in FLOORS[floor].iterdir() if path.is_dir() and path.name != "__pycache__"}
    lines = {room.strip("`/"): cells for room, cells in rows(floor).items() if room.endswith("/`")}
    assert set(lines) == there
    assert [room for room, (job, face, *_) in lines.items() if not job or not quoted(face)] == []


def test_every_file_that_the_rooms_share_is_named() -> None:
    (names,) = (room for room in rows("muster") if not room.endswith("/`"))
    files = {path.name for path in FLOORS["muster"].glob("*.py")} - {"__init__.py"}
    assert set(quoted(names)) == files
    assert {name.removesuffix(".py") for name in files} | {"migrations"} == SHARED


def test_the_neighbours_of_a_room_are_those_that_its_imports_are_held_to() -> None:
    above: set[str] = set()
    for line, (*_, neighbours) in rows("muster").items():
        room = line.strip("`/")
        if room in ROOMS:
            said = {name.removesuffix(".py").replace("/", ".") for name in quoted(neighbours)}
            assert (above if neighbours == "all of the above" else said) == ROOMS[room], room
            above.add(room)


def resolved(floor: str, room: str, face: str) -> tuple[str, str]:
    """The module that a face is imported from, and its name there."""
    module, _, name = face.rpartition(".")
    return ".".join(filter(None, (floor, room, module))), name


@pytest.mark.parametrize(("floor", "room", "face"), FACES)
def test_the_face_of_a_room_is_there_and_somebody_outside_uses_it(floor: str, room: str, face: str) -> None:
    module, name = resolved(floor, room, face)
    found = getattr(import_module(module), name)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].values()
    used = {said for path, said in mentioned() if not path.is_relative_to(FLOORS[floor] / room)}
    # What a room offers in its `__init__` some import from the module that has it.
    names = {f"{module}.{name}", f"{getattr(found, '__module__', module)}.{name}"}
    assert names & used or f"{module}:{name}" in scripts


@cache
def mentioned() -> frozenset[tuple[Path, str]]:
    """All that the code and the guides import from either floor, or use of a module that they imported."""
    code = [(path, path.read_text(encoding="utf-8")) for folder in FLOORS.values() for path in folder.rglob("*.py")]
    found = set()
    for path, text in [*code, *((block.page, block.text) for block in blocks("python"))]:
        modules: dict[str, str] = {}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("muster"):
                modules |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                found.add((path, f"{modules[node.value.id]}.{node.attr}"))
        found |= {(path, said) for said in modules.values()}
    return frozenset(found)


PLACES = (ROOT, *(place for floor in FLOORS.values() for place in (floor.parent, floor)))
"""Where the paths of the page begin."""
FILES = sorted(set(re.findall(r"(?<![\w<>/.*-])[\w/]+\.py\b", PAGE)))


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_the_page_names_is_there(file: str) -> None:
    # The recipes say how to write a file that is not there yet.
    written_there = {block.text.partition("\n")[0].removeprefix("# ") for block in blocks("python", mark="recipe")}
    assert file in written_there or any((place / file).is_file() for place in PLACES)


CALLS = re.findall(r"^ *(?:\w+ -> )?(\w+)(?:\.\w+)? {2,}([\w/]+\.py)\b", PAGE, re.MULTILINE)
CALLS += [(name, f"{path}.py") for path, name in re.findall(r" {2,}(\w+/\w+)\.(?!py\b)(\w+)\b", PAGE)]
"""Of each step of a trace, what is called and the file that it is in."""


@pytest.mark.parametrize(("name", "file"), CALLS)
def test_what_a_trace_calls_is_in_the_file_it_names(name: str, file: str) -> None:
    [path] = [place / file for place in PLACES if (place / file).is_file()]
    assert re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))


def test_every_class_constant_and_function_that_the_page_names_is_in_the_code() -> None:
    text = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    named = {word for said in quoted(text) for word in re.findall(r"^[A-Za-z_.]+\b", said)}
    names = {name.rpartition(".")[2] for name in named if re.search(r"[A-Z_]", name) and not name.endswith(".py")}
    code = " ".join(path.read_text(encoding="utf-8") for floor in FLOORS.values() for path in floor.rglob("*.py"))
    assert sorted(names - set(re.findall(r"\w+", code))) == []
    assert len(names) > 40
    assert len(CALLS) > 11
