"""Numbers with a fraction beside decimals: a float counts as the decimal that it is written as.

What a skill declares as a decimal is one in expressions. A fraction in settings, inputs or an expression is a binary
float, and the float 1000.10 is a little more than 1000.10: nobody who compares the two means that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, operators

from muster.language.answers import Decision

COMPARING = frozenset({"max", "min", "sort", "unique", "dictsort"})
"""Filters that compare what is in a list or mapping with each other."""


def exact(value: Any) -> Any:
    """The value with every float in it as a decimal."""
    return _exact(value) if _has(value, float) else value


def exact_if_mixed(values: Any) -> Any:
    """The values, exact where floats are among decimals."""
    return exact(values) if _has(values, Decimal) else values


def comparing(test: Any) -> Callable[..., Any]:
    """A test that compares exactly."""
    return lambda *arguments: test(*map(exact, arguments))


class ExactComparisons(CodeGenerator):
    """Compiles `==`, `<`, `in` and the like so that what they compare is exact."""

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802 - so Jinja finds it
        """The operands with the operators between them, as Jinja writes them."""
        self.write("(")
        self._operand(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._operand(operand.expr, frame)
        self.write(")")

    def _operand(self, node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.exact(")
        self.visit(node, frame)
        self.write(")")


def _exact(value: Any) -> Any:
    if isinstance(value, float):
        return Decimal(str(value)) if value == value else value  # NaN as a decimal cannot even be compared.
    if isinstance(value, list | tuple):
        return [_exact(inner) for inner in value]
    if isinstance(value, Mapping) and not isinstance(value, Decision):
        return {_exact(key): _exact(inner) for key, inner in value.items()}
    return value


def _has(value: Any, kind: type) -> bool:
    """True when a number of this kind is in the value, at any depth."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    return any(_has(inner, kind) for inner in value) if isinstance(value, list | tuple) else isinstance(value, kind)
