"""What a condition asks whether it is true: operands of `and`, `or`, `not`, `if`, and items; text is neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jinja2 import nodes

from muster.language.answers import NeitherTrueNorFalse
from muster.language.paths import path_of

ASKED = "asked for its truth"
"""The filter around such an operand, and the test of such an item. No name, so that nobody writes it by chance."""
_WITHOUT_TEST = {"select": 0, "reject": 0, "selectattr": 1, "rejectattr": 1}
"""Filters that ask whether each item, or one key of it, is true, when they are given no more than so many arguments."""


class TextAsOperand(NeitherTrueNorFalse):
    """An operand of `and`, `or`, `not` or `if` is text: its step fails without another attempt."""

    def __init__(self, name: str) -> None:
        what = f"`{name}`" if name else "an operand of `and`, `or`, `not` or `if`"
        super(NeitherTrueNorFalse, self).__init__(
            f"{what} is text, which is neither true nor false.",
            remedy=f'Compare it, for example `{name or "inputs.mode"} == "yes"`.',
        )


class TextAsItem(NeitherTrueNorFalse):
    """A filter asks whether text is true: its step fails without another attempt."""

    def __init__(self, name: str) -> None:
        key = '"key", ' if name.endswith("attr") else ""
        super(NeitherTrueNorFalse, self).__init__(
            f"`{name}` asks whether text is true, which is neither true nor false.",
            remedy=f'Give it a test, for example `{name}({key}"eq", "yes")`.',
        )


def not_text(value: object, name: str) -> object:
    """The value of an operand. Raises TextAsOperand: as Python sees it, even `false`, `no` and `0` would be true."""
    if isinstance(value, str):
        raise TextAsOperand(name)
    return value


def ask(value: object, name: str) -> bool:
    """The test of an item that `select` or one of its kin, the filter `name`, asks for its truth.

    Raises:
        NeitherTrueNorFalse: the item is text.
    """
    if isinstance(value, str):
        raise TextAsItem(name)
    return bool(value)


def guarded(condition: nodes.Expr) -> nodes.Expr:
    """The condition, with everything that is asked for its truth in it refused when it is text; changed in place."""

    def guard(operand: nodes.Expr) -> nodes.Expr:
        name = nodes.Const(named(operand), lineno=operand.lineno)
        return nodes.Filter(operand, ASKED, [name], [], None, None, lineno=operand.lineno)

    condition = _asked(condition, guard, whole=True)
    for pick in nodes.Output([condition]).find_all(nodes.Filter):
        _guard_items(pick)
    return condition


def operands(condition: nodes.Expr) -> Iterator[nodes.Expr]:
    """Every operand in the condition that is asked for its truth, and is none of `and`, `or`, `not` and `if` itself."""
    found: list[nodes.Expr] = []

    def note(operand: nodes.Expr) -> nodes.Expr:
        found.append(operand)
        return operand

    _asked(condition, note, whole=True)
    yield from found


def named(operand: nodes.Expr) -> str:
    """The operand's name, such as `inputs.mode`; empty when it is no path."""
    return ".".join(path_of(operand) or ())


def _asked(node: nodes.Expr, replace: Callable[[nodes.Expr], nodes.Expr], *, whole: bool = False) -> nodes.Expr:
    """The node, whose truth is asked, with each operand replaced; of the whole condition `is_true` asks itself."""
    if isinstance(node, nodes.And | nodes.Or):
        node.left, node.right = _asked(node.left, replace), _asked(node.right, replace)
    elif isinstance(node, nodes.Not):
        node.node = _asked(node.node, replace)
    elif isinstance(node, nodes.CondExpr):
        node.test, node.expr1 = _asked(node.test, replace), _asked(node.expr1, replace, whole=whole)
        node.expr2 = node.expr2 and _asked(node.expr2, replace, whole=whole)
    else:
        _within(node, replace)
        return node if whole else replace(node)
    return node


def _within(node: nodes.Node, replace: Callable[[nodes.Expr], nodes.Expr]) -> None:
    """Replace each operand in what is compared or given; there `or` puts one value in place of another, asking none."""
    asks: nodes.Node | None = None
    if isinstance(node, nodes.And):
        asks = node.left = _asked(node.left, replace)
    elif isinstance(node, nodes.Not):
        asks = node.node = _asked(node.node, replace)
    elif isinstance(node, nodes.CondExpr):
        asks = node.test = _asked(node.test, replace)
    for inner in node.iter_child_nodes():
        if inner is not asks:
            _within(inner, replace)


def is_named_by_data(pick: nodes.Filter) -> bool:
    """Whether which filter `map` applies is known only once it runs: nobody could say before what that one asks."""
    name, given = _picking(pick)
    return name == "map" and bool(given)


def _guard_items(pick: nodes.Filter) -> None:
    """Give a filter that asks whether its items are true, for want of a test, the one that refuses text."""
    name, given = _picking(pick)
    if _WITHOUT_TEST.get(name) == len(given):
        pick.args += [nodes.Const(ASKED, lineno=pick.lineno), nodes.Const(name, lineno=pick.lineno)]


def _picking(pick: nodes.Filter) -> tuple[str, list[nodes.Expr]]:
    """The filter that sees the items, inside of any `map`, and what it is given."""
    name, given = pick.name, pick.args
    while name == "map" and given and isinstance(filter_name := given[0], nodes.Const):
        name, given = filter_name.value, given[1:]
    return name, given
