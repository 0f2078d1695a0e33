"""Whether an operator can be imported, seen from the files that are installed: nothing is imported for it."""

from __future__ import annotations

import ast
import importlib.util
import pkgutil
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

from muster.language.foreign import OPERATORS
from muster.language.problems import did_you_mean

PROVIDERS = ("airflow", "providers")
FAMILIES = frozenset({"apache", "atlassian", "cncf", "common", "dbt", "ibm", "microsoft"})
"""Beginnings of names that several providers share, each with a package of its own."""
FINDS_NAMES = "__getattr__"
"""The function with which a module answers for names that are not written in it."""
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `ast.parse` raises; the last two for source that is nested too deeply."""


class Obstacle(NamedTuple):
    """Why a class cannot be imported, or why an operator cannot be a step."""

    message: str
    suggestion: str


def obstacle(path: str, folders: Sequence[Path] = ()) -> Obstacle | None:
    """Why the class at an import path cannot be imported; None when nothing speaks against it.

    What fails only when the module is executed (the import of a package it needs, for example) is not seen here:
    Airflow reports it when it makes the Dag.

    Args:
        path: `package.module.Class`.
        folders: Looked through besides Python's own path: the folder of Airflow's plugins.
    """
    module, _, name = path.rpartition(".")
    spec = find_module(module, folders)
    if spec is None or isinstance(spec, Obstacle):
        return spec
    # A name that occurs in the source counts as bound: parsing a long module takes as long as all other checks.
    if (source := source_of(spec)) is None or re.search(rf"\b{name}\b", source):
        return None
    names = _bound_in(source)
    if names is None or FINDS_NAMES in names:
        return None
    return Obstacle(f"there is no `{name}` in {module}", did_you_mean(name, names) or f"Look it up in {spec.origin}.")


def find_module(name: str, folders: Sequence[Path] = ()) -> ModuleSpec | Obstacle | None:
    """Where a module's file is; None when the package above it makes the module by itself.

    Args:
        name: With dots, from the top.
        folders: Looked through besides Python's own path.
    """
    search = [*map(str, folders), *sys.path]
    parts = name.split(".")
    spec = _top(parts[0], search)
    for depth in range(1, len(parts)):
        if spec is None:
            return _absent(parts[:depth], parts)
        # Airflow's own package extends over every folder of the path, so that providers may lie elsewhere.
        places = [*(spec.submodule_search_locations or ()), *_beside(parts[:depth], search)]
        # Only the last part of the name: given a dotted name, the finder would import the packages above it.
        below = PathFinder.find_spec(parts[depth], places)
        if below is None:
            if _makes_modules(spec, parts[depth]):
                return None
            return _absent(parts[: depth + 1], parts, known=[module.name for module in pkgutil.iter_modules(places)])
        spec = below
    return _absent(parts, parts) if spec is None else spec


def _top(name: str, search: list[str]) -> ModuleSpec | None:
    if spec := PathFinder.find_spec(name, search):
        return spec
    try:
        return importlib.util.find_spec(name)  # An editable installation has a finder of its own.
    except ValueError:
        return None


def _beside(parts: Sequence[str], search: list[str]) -> list[str]:
    places = [Path(entry or ".", *parts) for entry in search]
    return [str(place) for place in places if place.is_dir()]


def _absent(missing: Sequence[str], wanted: Sequence[str], known: Sequence[str] = ()) -> Obstacle:
    """The first part of a path that is not installed, and which package holds it."""
    message = f"there is no module `{'.'.join(missing)}` here"
    near = did_you_mean(missing[-1], known)
    provider = _provider(wanted)
    if provider and len(missing) <= len(PROVIDERS) + len(provider):
        install = f"Install the package `apache-airflow-providers-{'-'.join(provider)}`."
        return Obstacle(message, f"{near} If not: {install[0].lower()}{install[1:]}" if near else install)
    return Obstacle(message, near or f"Install the package that holds `{'.'.join(wanted)}`, or mend the path.")


def _provider(parts: Sequence[str]) -> Sequence[str]:
    """The name of the provider a module belongs to: `cncf`, `kubernetes`; empty when it is no provider's."""
    if tuple(parts[:2]) != PROVIDERS:
        return ()
    return parts[2:4] if parts[2:3] and parts[2] in FAMILIES else parts[2:3]


def _makes_modules(spec: ModuleSpec, name: str) -> bool:
    """True when a package may make a module itself, because its source names it: Airflow does so for moved modules."""
    source = source_of(spec)
    return source is not None and f'"{name}"' in source


def source_of(spec: ModuleSpec) -> str | None:
    """The text of a module; None when it is not written in Python, or cannot be read."""
    if spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        with tokenize.open(spec.origin) as file:  # In the encoding that it names.
            return file.read()
    except (OSError, SyntaxError, ValueError):
        return None


def _bound_in(source: str) -> frozenset[str] | None:
    """The names a module binds; None when that cannot be told from its source."""
    try:
        names = frozenset(bound(ast.parse(source).body))
    except UNREADABLE:
        return None
    return None if "*" in names else names


def bound(body: Sequence[ast.AST]) -> Iterator[str]:
    """The names that statements bind, also inside `if`, `try` and `with`; `*` for what is imported as a whole."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        else:
            yield from bound(list(ast.iter_child_nodes(node)))


def operators_named(name: str) -> list[str]:
    """The import paths of the operators and sensors of that name, today's or an earlier one, that are installed."""
    name = OPERATORS.get(name, name)
    places = [Path(entry or ".", *PROVIDERS) for entry in sys.path]
    files = {file for place in places for kind in ("operators", "sensors") for file in place.glob(f"**/{kind}/*.py")}
    wanted = re.compile(rf"^class {re.escape(name)}\b", re.MULTILINE)
    found = []
    for file in sorted(files):
        if wanted.search(file.read_text(encoding="utf-8", errors="replace")):
            parts = file.with_suffix("").parts
            start = max(at for at in range(len(parts)) if parts[at : at + 2] == PROVIDERS)
            found.append(".".join((*parts[start:], name)))
    return found
