"""Paths such as `inputs.order.total` in parsed expressions, and which of them an author takes for optional."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

_TESTS = frozenset({"defined", "undefined"})
_FILTERS = frozenset({"d", "default"})


def path_of(node: nodes.Node) -> tuple[str, ...] | None:
    """The names of `a.b["c"]`, up to the first part that is not a fixed name; None without any."""
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, nodes.Getattr) and (before := path_of(node.node)):
        return (*before, node.attr)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return (*before, node.arg.value) if (before := path_of(node.node)) else None
    return None


def asked(tree: nodes.Node) -> Iterator[tuple[str, ...]]:
    """The paths that an expression tests for a value: `a.b is defined`, `a.b | default(0)`, `"b" in a`."""
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name in _FILTERS and filtered.node is not None:
            yield path_of(filtered.node) or ()
    for test in tree.find_all(nodes.Test):
        if test.name in _TESTS:
            yield path_of(test.node) or ()
    for compared in tree.find_all(nodes.Compare):
        name, (first, *_) = compared.expr, compared.ops
        if first.op in ("in", "notin") and isinstance(name, nodes.Const) and (path := path_of(first.expr)):
            yield (*path, str(name.value))
