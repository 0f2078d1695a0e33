"""Which arguments an operator takes, seen from the files that are installed: nothing is imported for it.

Only a plainly written `__init__` is followed. About a class that makes its `__init__` in another way nothing is said.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from muster.language.ancestry import origins, statements
from muster.language.importing import UNREADABLE, Obstacle, bound, find_module, source_of

AIRFLOW = "airflow."
BASE = "BaseOperator"
_WORDS = """
    allow_nested_operators dag default_args depends_on_past do_xcom_push doc doc_json doc_md doc_rst doc_yaml
    email email_on_failure email_on_retry end_date execution_timeout executor executor_config
    ignore_first_depends_on_past inlets logger_name map_index_template max_active_tis_per_dag
    max_active_tis_per_dagrun max_retry_delay multiple_outputs on_execute_callback on_failure_callback
    on_retry_callback on_skipped_callback on_success_callback outlets owner params pool pool_slots post_execute
    pre_execute priority_weight queue render_template_as_native_obj resources retries retry_delay
    retry_exponential_backoff retry_policy run_as_user sla start_date task_display_name task_group trigger_rule
    wait_for_downstream wait_for_past_depends_before_skipping weight_rule
"""
BASE_TAKES = frozenset(_WORDS.split())
"""What Airflow's base class takes: to read its long module takes ten times as long as an operator's other modules."""
EMPTY = frozenset({"abc.ABC", "typing.Generic"})
"""Base classes without an `__init__`."""
GIVEN = frozenset(("self", "task_id"))
"""Arguments that nobody writes: the task's id is the step's."""


class Signature(NamedTuple):
    """The arguments of an operator."""

    taken: frozenset[str]
    needed: frozenset[str]


class _Arguments(NamedTuple):
    """What an `__init__` takes."""

    taken: frozenset[str]
    needed: frozenset[str]
    takes_more: bool


class _Class(NamedTuple):
    """A class as it is written."""

    init: _Arguments | None
    """None when it has no `__init__` of its own."""
    plain: bool
    """False when it does something that is not followed here."""


class _Unclear(Exception):
    """The files do not say."""


_BASE = _Arguments(BASE_TAKES, frozenset(), takes_more=False)


def signature(path: str, folders: Sequence[Path] = ()) -> Signature | None:
    """The arguments of the operator at an import path; None where the files do not say.

    Args:
        path: `package.module.Class`.
        folders: Looked through besides Python's own path: the folder of Airflow's plugins.
    """
    try:
        lineage = dict(reversed(list(_lineage(path, folders))))
    except _Unclear:
        return None
    # In the order in which Python looks: a class that several others inherit from comes after all of them.
    inits = [init for init in reversed(lineage.values()) if init is not None]
    taken = set[str]()
    for init in inits:
        taken |= init.taken
        if not init.takes_more:
            return Signature(frozenset(taken - GIVEN), inits[0].needed - GIVEN)
    return None


def _lineage(
    path: str, folders: Sequence[Path], below: tuple[str, ...] = ()
) -> Iterator[tuple[str, _Arguments | None]]:
    """The class at an import path and all it inherits from, a class as often as it is inherited. Raises _Unclear."""
    module, _, name = path.rpartition(".")
    if path.startswith(AIRFLOW) and name == BASE:
        yield path, _BASE
        return
    if path in EMPTY:
        return
    above = list(origins(module, name, folders)) if module else []
    written = _classes_in(module, folders).get(name)
    # One of Airflow's own modules may import a name from several places: all of them have the same class.
    several = written is None and len(above) > 1 and not path.startswith(AIRFLOW)
    if path in below or several or (not above if written is None else not written.plain):
        raise _Unclear
    yield path, written.init if written else None
    for parent in above:
        yield from _lineage(parent, folders, (*below, path))


def _classes_in(module: str, folders: Sequence[Path]) -> Mapping[str, _Class]:
    spec = find_module(module, folders) if module else None
    if spec is None or isinstance(spec, Obstacle) or (source := source_of(spec)) is None:
        return {}
    return _classes(source)


@lru_cache(maxsize=128)
def _classes(source: str) -> Mapping[str, _Class]:
    """The classes in the text of a module."""
    try:
        tree = ast.parse(source)
        times = Counter(bound(tree.body))
        nodes = (node for node in statements(tree) if isinstance(node, ast.ClassDef))
        return {node.name: _class(node, once=times[node.name] == 1) for node in nodes}
    except UNREADABLE:
        return {}


def _class(node: ast.ClassDef, *, once: bool) -> _Class:
    inits = [inner for inner in node.body if isinstance(inner, ast.FunctionDef) and inner.name == "__init__"]
    plain = (
        once
        and not node.decorator_list
        and not node.keywords
        and all(isinstance(base, ast.Name | ast.Attribute | ast.Subscript) for base in node.bases)
        and Counter(bound(node.body))["__init__"] == len(inits) <= 1
        and not any(init.decorator_list or not _passes_on(init) for init in inits)
    )
    return _Class(_arguments(inits[0].args) if inits else None, plain)


def _passes_on(init: ast.FunctionDef) -> bool:
    """True when it gives the arguments that it does not name to the next `__init__` and does nothing else with them."""
    if init.args.kwarg is None:
        return True
    calls = [node for node in ast.walk(init) if isinstance(node, ast.Call) and ast.dump(node.func) == _NEXT]
    passed = [keyword.value for call in calls for keyword in call.keywords if keyword.arg is None]
    used = [node for node in ast.walk(init) if isinstance(node, ast.Name) and node.id == init.args.kwarg.arg]
    return bool(used) and all(node in passed for node in used)


_NEXT = ast.dump(ast.parse("super().__init__", mode="eval").body)


def _arguments(said: ast.arguments) -> _Arguments:
    names = frozenset(argument.arg for argument in (*said.posonlyargs, *said.args, *said.kwonlyargs))
    return _Arguments(names, frozenset(_without_default(said)), said.kwarg is not None)


def _without_default(said: ast.arguments) -> Iterator[str]:
    plain = [*said.posonlyargs, *said.args]
    yield from (argument.arg for argument in plain[: len(plain) - len(said.defaults)])
    yield from (
        argument.arg for argument, default in zip(said.kwonlyargs, said.kw_defaults, strict=True) if default is None
    )
