"""The house stays in order: imports point down, Dag parsing stays light, modules stay small and explained."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOMAIN = ROOT / "include" / "muster"
AIRFLOW = ROOT / "plugins"
DAGS = ROOT / "dags"

SHARED = {
    "documents", "errors", "failures", "files", "findings", "database", "redaction", "secret_names",
    "secret_shapes", "secret_words", "bounded_cache", "turns", "sessions", "yaml_model", "faces", "patterns",
    "migrations", "misfits",
}  # fmt: skip
"""Rooms that every other room may use."""
ROOMS = {
    "language": {
        "isolation.spec",
        "agents.spec",
        "skills.index",
        "coordination.plans",
        "coordination.formation",
        "coordination.modes",
    },
    "skills": {"events", "recovery", "coordination.blackboard", "coordination.messages"},
    "agents": {"events", "skills", "recovery", "isolation"},
    "isolation": set(),
    "events": set(),
    "recovery": {"events"},
    "notifications": {"language.channels", "events.failures", "events.log", "events.sealing", "recovery"},
    "execution": {"language", "skills", "agents", "events", "notifications", "recovery", "coordination", "isolation"},
    "approvals": {"language", "events", "notifications", "execution", "recovery"},
    "runs": {"language", "events", "execution", "recovery"},
    "saga": {"language", "skills", "events", "notifications", "execution", "recovery", "runs"},
    "operations": {
        "language",
        "skills",
        "events",
        "notifications",
        "execution",
        "recovery",
        "approvals",
        "runs",
        "saga",
        "triggers",
        "coordination.messages",
        "isolation",
    },
    "triggers": set(),
    "coordination": {"events"},
    "local": set(),
    "rehearsal": {
        "language",
        "skills",
        "events",
        "notifications",
        "execution",
        "approvals",
        "runs",
        "saga",
        "local",
        "recovery",
    },
    "cli": {
        "language",
        "skills",
        "agents",
        "events",
        "notifications",
        "execution",
        "approvals",
        "runs",
        "saga",
        "operations",
        "local",
        "recovery",
        "rehearsal",
        "triggers",
        "coordination",
        "isolation",
    },
}
"""What each room of the domain may import beside the shared ones; docs/architecture.md says why."""

HEAVY = {
    "anthropic",
    "facturx",
    "lxml",
    "mcp",
    "numpy",
    "openai",
    "pandas",
    "pdfplumber",
    "playwright",
    "pydantic_ai",
    "pygit2",
    "pypdf",
    "schwifty",
    "sepaxml",
    "stdnum",
}
"""What Dag parsing must not pay for."""
PARSED = [
    "muster.language",
    "muster.skills.registry",
    "muster.skills.index",
    "muster.agents.spec",
    "muster.events.model",
]
"""What Airflow imports each time it parses the Dags."""

DOCUMENTS = {"document", "layer", "chain[-1]", "self", "self.document", "info"}
"""What has `data` that is no event's: YAML that is read, and what pydantic validates."""
IN_SQL = re.compile(r"\bdata\s*(?:->|#>|@>|\?)")
"""Takes the data of an event apart in a query; a migration may, because it knows the log as it was."""

LONG = {
    "include/muster/skills/finance/invoice.py": "one model: the terms of EN 16931 one after another",
}
"""Modules over 400 lines, each with the reason."""
LIMIT = 400


def modules(*folders: Path) -> Iterator[Path]:
    """Every Python file below the folders."""
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything the file imports, wherever in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def offences(paths: Iterator[Path], forbidden: set[str]) -> list[str]:
    """Where one of the forbidden packages is imported."""
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in paths
        for line, name in imports(path)
        if name.partition(".")[0] in forbidden
    ]


def test_the_domain_knows_nothing_of_airflow() -> None:
    assert offences(modules(DOMAIN), {"airflow", "muster_airflow", "airflow_shared"}) == []


def test_dag_files_know_only_the_airflow_floor() -> None:
    allowed = {"muster_airflow", "__future__"}
    found = [
        f"{path.name}:{line} imports {name}"
        for path in modules(DAGS)
        for line, name in imports(path)
        if name.partition(".")[0] not in allowed
    ]
    assert found == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    allowed = {f"muster.{name}" for name in SHARED | ROOMS[room] | {room, "__version__"}}
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(DOMAIN / room)
        for line, name in imports(path)
        if name.startswith("muster.") and not any(f"{name}.".startswith(f"{prefix}.") for prefix in allowed)
    ]
    assert found == []


def test_files_do_not_know_one_another_in_a_circle() -> None:
    """Not even for their types: what two know of each other belongs to one of them, or to a third."""
    files = {dotted(path, root): path for root in (DOMAIN, AIRFLOW) for path in modules(root)}
    known = {
        name: {named if named in files else named.rpartition(".")[0] for _, named in imports(path)} & files.keys()
        for name, path in files.items()
    }
    TopologicalSorter({name: others - {name} for name, others in known.items()}).prepare()


def dotted(path: Path, root: Path) -> str:
    """The name that a file is imported by."""
    return ".".join((root.name, *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")


FACES = ("approvals", "execution", "runs")
"""Rooms of which the Airflow floor sees only what their `__init__` shows."""


def test_the_airflow_floor_sees_only_the_face_of_a_room() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(AIRFLOW)
        for line, name in imports(path)
        if name.startswith(tuple(f"muster.{room}." for room in FACES)) and name.count(".") > 2
    ]
    assert found == []


def test_the_shared_rooms_import_no_other() -> None:
    allowed = tuple(f"muster.{name}" for name in SHARED)
    files = [path for path in modules(DOMAIN) if path.relative_to(DOMAIN).parts[0].removesuffix(".py") in SHARED]
    assert len(files) > len(SHARED)
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imports(path)
        if name.startswith("muster.") and not name.startswith(allowed)
    ]
    assert found == []


OPENS = {
    "open", "fdopen", "popen", "read_bytes", "read_text", "readlink", "urlopen", "urlretrieve", "parse", "iterparse",
    "from_file", "fromfile", "scandir", "listdir", "iterdir", "glob", "rglob", "walk",
}  # fmt: skip
"""What opens or looks for a file, or an address, whose name it is given."""
OWN = {
    "finance/reading/pdf.py": {"pdfplumber.open(io.BytesIO(data))"},
    "finance/reporting.py": {"(files(__package__) / 'report.html').read_text(encoding='utf-8')"},
    "strategy/reporting.py": {"(files(__package__) / 'report.html').read_text(encoding='utf-8')"},
    "finance/sepa.py": {"(files('sepaxml') / 'schemas' / f'{SCHEMA}.xsd').read_bytes()"},
}
"""What skills open without being told its name: bytes they hold, and files that ship with the code."""


def test_skills_open_only_the_documents_they_may() -> None:
    found, known = [], set[str]()
    for path in modules(*(folder for folder in (DOMAIN / "skills").iterdir() if folder.is_dir())):
        own = OWN.get(str(path.relative_to(DOMAIN / "skills")), set())
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Call):
                continue
            called = node.func
            opens = called.attr in OPENS if isinstance(called, ast.Attribute) else ast.unparse(called) == "open"
            if opens and ast.unparse(node) not in own:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} calls {ast.unparse(node)}")
            known |= {ast.unparse(node)} & own
    assert found == [], "context.documents.read opens what somebody has named"
    assert known == set().union(*OWN.values()), "these need no exception any more"


def loaded_by(module: str) -> set[str]:
    """The heavy packages that a fresh interpreter holds after importing the module."""
    code = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"AIRFLOW_HOME": home}
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    return loaded & (HEAVY | {"airflow"})


@pytest.mark.parametrize("module", PARSED)
def test_parsing_dags_imports_nothing_heavy_from_the_domain(module: str) -> None:
    assert loaded_by(module) == set()


def test_parsing_dags_imports_nothing_heavy_from_the_airflow_floor() -> None:
    airflow_itself = loaded_by("airflow.sdk, airflow.providers.standard.operators.hitl")
    assert loaded_by("muster_airflow") - airflow_itself == set()


def test_nobody_but_the_log_takes_an_event_apart() -> None:
    """Others read and write what `muster.events.payloads` names."""
    found = []
    for path in modules(DOMAIN, AIRFLOW, DAGS):
        if path.is_relative_to(DOMAIN / "events"):
            continue
        for node in ast.walk(tree(path)):
            match node:
                case ast.Constant(value=str(text)) if IN_SQL.search(text) and "versions" not in path.parts:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} takes an event's data in SQL")
                case ast.Call(func=ast.Name(id="NewEvent")):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} makes an event by itself")
                case (
                    ast.Subscript(value=ast.Attribute(value=owner, attr="data"))
                    | ast.Call(func=ast.Attribute(value=ast.Attribute(value=owner, attr="data"), attr="get"))
                ) if ast.unparse(owner) not in DOCUMENTS:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} takes {ast.unparse(node)}")
    assert found == []


def test_every_module_and_public_class_says_what_it_is_for() -> None:
    silent = []
    for path in modules(DOMAIN, AIRFLOW, DAGS):
        if not ast.get_docstring(tree(path)):
            silent.append(str(path.relative_to(ROOT)))
        silent += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
            for node in tree(path).body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
        ]
    assert silent == []


def test_no_module_grows_beyond_400_lines_without_a_reason() -> None:
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules(DOMAIN, AIRFLOW, DAGS)
    }
    assert {name: size for name, size in sizes.items() if size > LIMIT and name not in LONG} == {}
    assert [name for name in LONG if sizes.get(name, 0) <= LIMIT] == [], "these need no exception any more"
