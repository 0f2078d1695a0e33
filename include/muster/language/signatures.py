"""Which arguments an operator takes, seen from the files that are installed: nothing is imported for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from muster.language.ancestry import origins, statements
from muster.language.importing import UNREADABLE, Obstacle, find_module, source_of

BASE = "BaseOperator"
"""What takes every argument that is left over refuses what it does not know."""
GIVEN = frozenset(("self", "task_id"))
"""What nobody writes: the task's id is the step's."""


class Signature(NamedTuple):
    """The arguments of an operator."""

    taken: frozenset[str]
    needed: frozenset[str]


def signature(path: str, folders: Sequence[Path] = ()) -> Signature | None:
    """The arguments of the operator at an import path; None where the files do not say.

    Args:
        path: `package.module.Class`.
        folders: Looked through besides Python's own path: the folder of Airflow's plugins.
    """
    first: _Arguments | None = None
    taken = set[str]()
    seen, waiting = set[str](), [path]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        module, _, name = path.rpartition(".")
        own = _arguments_in(module, folders)
        above = list(origins(module, name, folders)) if module else []
        if name not in own and not above:
            return None
        if (arguments := own.get(name)) is not None:
            first = first or arguments
            taken |= arguments.taken
            if not arguments.takes_more or name == BASE:
                continue
        waiting += above
    return None if first is None else Signature(frozenset(taken - GIVEN), first.needed - GIVEN)


class _Arguments(NamedTuple):
    taken: frozenset[str]
    needed: frozenset[str]
    takes_more: bool


def _arguments_in(module: str, folders: Sequence[Path]) -> Mapping[str, _Arguments | None]:
    """What the classes of a module take, by name."""
    spec = find_module(module, folders) if module else None
    if spec is None or isinstance(spec, Obstacle) or (source := source_of(spec)) is None:
        return {}
    return _written(source)


@lru_cache(maxsize=128)
def _written(source: str) -> Mapping[str, _Arguments | None]:
    try:
        nodes = statements(ast.parse(source))
        return {node.name: _arguments(node) for node in nodes if isinstance(node, ast.ClassDef)}
    except UNREADABLE:
        return {}


def _arguments(node: ast.ClassDef) -> _Arguments | None:
    """What its own `__init__` takes; None when it has none."""
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            said = inner.args
            return _Arguments(
                frozenset(each.arg for each in (*said.posonlyargs, *said.args, *said.kwonlyargs)),
                frozenset(_without_default(said)),
                said.kwarg is not None,
            )
    return None


def _without_default(said: ast.arguments) -> Iterator[str]:
    plain = [*said.posonlyargs, *said.args]
    yield from (each.arg for each in plain[: len(plain) - len(said.defaults)])
    yield from (each.arg for each, default in zip(said.kwonlyargs, said.kw_defaults, strict=True) if default is None)
