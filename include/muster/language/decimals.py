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
from muster.language.forgotten import Forgotten

_PLAIN = (str, int, type(None))
"""Types whose values compare rightly with any number. Tested first, because the other operand may be a long list."""
COMPARING = frozenset({"max", "min", "sort", "unique", "dictsort"})
"""Filters that compare what is in a list or mapping with each other."""


def exact(value: object) -> Any:
    """The value with every float in it as a decimal."""
    return _exact(value) if _has(value, float) else value


def exact_if_mixed(values: object) -> Any:
    """The values, exact when there is a decimal among them."""
    return exact(values) if _has(values, Decimal) else values


def comparing(test: Any) -> Callable[..., object]:
    """The test of Jinja's, made to compare exactly."""

    def compared(value: object, *others: object) -> object:
        return test(value, *others) if isinstance(value, _PLAIN) else test(*map(exact, (value, *others)))

    return compared


def is_in(value: object, values: Any) -> bool:
    """Whether the value is among the values, compared exactly."""
    return value in values if isinstance(value, _PLAIN) else exact(value) in exact(values)


def with_originals(originals: Any, exacts: Any, result: object) -> Any:
    """The result of a filter that was given `exacts`, with the values of `originals` in their place."""
    if exacts is originals:
        return result
    before, after = ([*part, *part.values()] if isinstance(part, Mapping) else part for part in (originals, exacts))
    # By identity, because equal decimals may come from different originals.
    known = {id(exact): value for value, exact in zip(before, after, strict=True)}

    def original(value: object) -> object:
        if id(value) in known:
            return known[id(value)]
        return type(value)(map(original, value)) if isinstance(value, list | tuple) else value

    return original(result)


class ExactComparisons(CodeGenerator):
    """Compiles `==`, `<`, `in` and the like so that what they compare is exact."""

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:  # noqa: N802 - so Jinja finds it
        """The operands with the operators between them, as Jinja writes them."""
        if [operand.op for operand in node.ops] in (["in"], ["notin"]):
            self.write("(not " if node.ops[0].op == "notin" else "(")
            self.write("environment.is_in(")
            self.visit(node.expr, frame)
            self.write(", ")
            self.visit(node.ops[0].expr, frame)
            self.write("))")
            return
        self.write("(")
        self._operand(node.expr, frame)
        for operand in node.ops:
            self.write(f" {operators[operand.op]} ")
            self._operand(operand.expr, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - so Jinja finds it
        """The texts that `~` joins, as one of the environment's."""
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def _operand(self, node: nodes.Expr, frame: Frame) -> None:
        self.write("environment.exact(")
        self.visit(node, frame)
        self.write(")")


def _exact(value: object) -> object:
    if isinstance(value, float):
        return Decimal(str(value)) if value == value else value  # NaN as a decimal cannot even be compared.
    if isinstance(value, tuple):
        return tuple(map(_exact, value))
    if isinstance(value, list):
        return [_exact(inner) for inner in value]
    if isinstance(value, Mapping) and not isinstance(value, Decision | Forgotten):
        return {_exact(key): _exact(inner) for key, inner in value.items()}
    return value


def _has(value: object, kind: type) -> bool:
    """True when a number of this kind is in the value, at any depth."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    return any(_has(inner, kind) for inner in value) if isinstance(value, list | tuple) else isinstance(value, kind)
