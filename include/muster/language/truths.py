"""The operands of `and`, `or`, `not` and `if` in a condition: each is asked whether it is true, and text is neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jinja2 import nodes

from muster.language.answers import NeitherTrueNorFalse
from muster.language.paths import path_of

ASKED = "asked for its truth"
"""The filter around such an operand. A name that nobody can write, so that it cannot be shadowed."""


class TextAsOperand(NeitherTrueNorFalse):
    """An operand of `and`, `or`, `not` or `if` is text: its step fails without another attempt."""

    def __init__(self, name: str) -> None:
        what = f"`{name}`" if name else "an operand of `and`, `or`, `not` or `if`"
        super(NeitherTrueNorFalse, self).__init__(
            f"{what} is text, which is neither true nor false.",
            remedy=f'Compare it, for example `{name or "inputs.mode"} == "yes"`.',
        )


def not_text(value: object, name: str) -> object:
    """The value of an operand. Raises TextAsOperand: as Python sees it, even `false`, `no` and `0` would be true."""
    if isinstance(value, str):
        raise TextAsOperand(name)
    return value


def guarded(condition: nodes.Expr) -> nodes.Expr:
    """The condition, with every operand that is asked for its truth refused when it is text; changed in place."""

    def guard(operand: nodes.Expr) -> nodes.Expr:
        name = nodes.Const(named(operand), lineno=operand.lineno)
        return nodes.Filter(operand, ASKED, [name], [], None, None, lineno=operand.lineno)

    _each_operand(condition, guard)
    return condition


def operands(condition: nodes.Expr) -> Iterator[nodes.Expr]:
    """Every operand of the condition that is asked for its truth, and is none of `and`, `or`, `not` and `if` itself."""
    found: list[nodes.Expr] = []

    def note(operand: nodes.Expr) -> nodes.Expr:
        found.append(operand)
        return operand

    _each_operand(condition, note)
    yield from found


def named(operand: nodes.Expr) -> str:
    """The operand's name, such as `inputs.mode`; empty when it is no path."""
    return ".".join(path_of(operand) or ())


def _each_operand(node: nodes.Expr, replace: Callable[[nodes.Expr], nodes.Expr], *, whole: bool = True) -> None:
    # Only from the whole condition down: in `(inputs.note or "none") == "x"` the operands of `or` are values, and what
    # is true is asked of the comparison.
    def within(operand: nodes.Expr) -> nodes.Expr:
        if isinstance(operand, nodes.And | nodes.Or | nodes.Not | nodes.CondExpr):
            _each_operand(operand, replace, whole=False)
            return operand
        return replace(operand)

    if isinstance(node, nodes.And | nodes.Or):
        node.left, node.right = within(node.left), within(node.right)
    elif isinstance(node, nodes.Not):
        node.node = within(node.node)
    elif isinstance(node, nodes.CondExpr):
        node.test = within(node.test)
        if whole:
            # What it gives is the condition; text there is refused as a condition that gives text.
            for given in filter(None, (node.expr1, node.expr2)):
                _each_operand(given, replace)
        else:
            node.expr1, node.expr2 = within(node.expr1), node.expr2 and within(node.expr2)
