"""What an operator inherits from, seen from the files that are installed: nothing is imported for it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from muster.language.importing import UNREADABLE, Obstacle, find_module, source_of

SKIPPING = frozenset({"SkipMixin", "BranchMixIn", "BaseBranchOperator"})
"""Base classes of Airflow's operators that have it skip tasks after them."""
TRIGGERING = frozenset({"TriggerDagRunOperator"})
"""Base classes of the operators that have Airflow start a run of a Dag."""
PLAIN = frozenset({"BaseOperator", "BaseSensorOperator"})
"""Base classes at which the search ends: there is no need to read Airflow's own long modules."""
EVERYTHING = "*"

SKIPS = "has Airflow skip tasks after it, and which steps are skipped only the automation says"
INSTEAD = (
    "Write `when` at the steps that are not always to be done, or a `branch`; where a person chooses, a `human` step."
)
WAITING = "wait_for_completion"
WAITS = "has Airflow wait for the other run once the operator has ended, where its step can no more be said to fail"
WAIT_SO = (
    "Write a `run` step, which starts a run of another automation and waits for it; for a Dag that is none, leave "
    f"`{WAITING}` out and add a step with a sensor."
)


def skips_others(path: str, folders: Sequence[Path] = ()) -> bool:
    """True when the operator at an import path has Airflow skip tasks after it."""
    return _descends(path, SKIPPING, folders)


def starts_runs(path: str, folders: Sequence[Path] = ()) -> bool:
    """True when the operator at an import path has Airflow start a run of a Dag."""
    return _descends(path, TRIGGERING, folders)


def _descends(path: str, wanted: Collection[str], folders: Sequence[Path]) -> bool:
    """True when the class at an import path is one of Airflow's classes in `wanted`, or inherits from one.

    A class that is made only when its module is executed is not seen.

    Args:
        path: `package.module.Class`.
        wanted: Names of classes.
        folders: Looked through besides Python's own path: the folder of Airflow's plugins.
    """
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        path = waiting.pop()
        module, _, name = path.rpartition(".")
        if module.partition(".")[0] == "airflow" and (name in wanted or name in PLAIN):
            if name in wanted:
                return True
        elif module and path not in seen:
            seen.add(path)
            waiting += origins(module, name, folders)
    return False


def origins(module: str, name: str, folders: Sequence[Path]) -> Iterator[str]:
    """The import paths that a name of a module leads to: its source, what it is another name for, its base classes."""
    spec, package = find_module(module, folders), module.rpartition(".")[0]
    makes_itself = spec is None
    if makes_itself:
        # The package above it makes this module when it is imported, and its source says where the names are.
        spec = find_module(package, folders)
    if spec is None or isinstance(spec, Obstacle) or (source := source_of(spec)) is None:
        return
    if not makes_itself:
        names = _names(source, module if spec.submodule_search_locations is not None else package)
        if name in names.imported or name in names.written:
            yield from names.origins(name, module)
            return
        yield from (f"{place}.{name}" for place in names.imported.get(EVERYTHING, ()))
    # A `__getattr__` may look the name up in a table: `"Name": "where.it.is"`.
    for place in re.findall(rf"""["']{name}["']\s*:\s*\(?\s*["']([\w.]+)["']""", source):
        yield place if place.endswith(f".{name}") else f"{place}.{name}"


class _Names(NamedTuple):
    """What a module binds. A name may be bound several times, as where an import that fails has another beside it."""

    imported: Mapping[str, list[str]]
    """For each imported name, its import paths; under `*` the modules of which everything was imported."""
    written: Mapping[str, list[str]]
    """For each class its bases, and for each other name what it stands for, as the module writes them."""

    def origins(self, name: str, module: str) -> Iterator[str]:
        """The import paths that the name leads to."""
        yield from self.imported.get(name, ())
        for words in self.written.get(name, ()):
            first, dot, rest = words.partition(".")
            yield from (f"{place}{dot}{rest}" for place in self.imported.get(first, ()))
            if not dot:
                yield f"{module}.{first}"


@lru_cache(maxsize=256)
def _names(source: str, package: str) -> _Names:
    """What the text of a module of `package` binds."""
    try:
        return _bound(ast.parse(source), package)
    except UNREADABLE:
        return _Names({}, {})


def _bound(tree: ast.Module, package: str) -> _Names:
    imported, written = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for node in statements(tree):
        if isinstance(node, ast.ClassDef):
            written[node.name] += filter(None, map(_dotted, node.bases))
        elif isinstance(node, ast.Assign) and (words := _dotted(node.value)):
            for target in node.targets:
                written[_dotted(target) or ""].append(words)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                imported[alias.asname or first].append(alias.name if alias.asname else first)
        elif isinstance(node, ast.ImportFrom):
            place = _place(node, package)
            for alias in node.names:
                everything = alias.name == EVERYTHING
                imported[alias.asname or alias.name].append(place if everything else f"{place}.{alias.name}")
    return _Names(dict(imported), dict(written))


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that a module executes when it is imported, also inside `if`, `try` and `with`."""
    for inner in ast.iter_child_nodes(node):
        yield inner
        if not isinstance(inner, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.expr):
            yield from statements(inner)


def _dotted(node: ast.AST) -> str | None:
    """`a.b.C`, also of `a.b.C[X]`; None for what is no plain name."""
    if isinstance(node, ast.Subscript):
        return _dotted(node.value)
    if isinstance(node, ast.Attribute):
        above = _dotted(node.value)
        return f"{above}.{node.attr}" if above else None
    return node.id if isinstance(node, ast.Name) else None


def _place(node: ast.ImportFrom, package: str) -> str:
    """The module that a statement imports from; one dot means the package itself."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])
