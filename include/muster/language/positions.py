"""Lists that are fanned out over: an item keeps its position from step to step, also when it is done again later."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from jinja2 import nodes

from muster.language.explain import Located
from muster.language.expressions import ExpressionSyntaxError, is_expression, only_expression, parse
from muster.language.paths import path_of
from muster.language.problems import Problem
from muster.language.steps import MappedStep, StepBase

_LEAVES_OUT = frozenset({"present", "select", "reject", "selectattr", "rejectattr", "unique"})
_SAME_ITEMS = frozenset({"list", "sort", "reverse", "default", "d", "map"})


def check_positions(steps: Sequence[StepBase], fan_outs: Collection[str], document: Located) -> Iterator[Problem]:
    """One problem for each step that fans out over the output of another fan-out with items left out of it.

    When an item that had failed comes through in a later execution, those behind it move by one position. The step
    would repeat finished work at other positions and would miss some items. Fanning out over the output itself keeps
    the positions.
    """
    for position, step in enumerate(steps):
        if not isinstance(step, MappedStep) or not isinstance(step.each, str):
            continue
        if name := next((name for name in _filtered(step.each) if name in fan_outs), None):
            message = f"the items of `{name}` lose their positions here: one that is redriven later moves the others"
            suggestion = (
                f'Write `each: "{{{{ steps.{name} }}}}"`: items that are null are passed over, '
                "and `when` can leave out others."
            )
            yield document.problem(message, ("steps", position, "each"), suggestion=suggestion)


def _filtered(text: str) -> Iterator[str]:
    """The steps whose output an expression gives with items left out."""
    try:
        if not is_expression(text) or parse(text).path is not None:
            return
        expression = only_expression(text)
    except ExpressionSyntaxError:
        return  # The check of expressions reports it.
    if expression is not None:
        yield from (name for name, less in lists_in(expression, _LEAVES_OUT | _SAME_ITEMS) if less)


def lists_in(node: nodes.Node, through: Collection[str], *, less: bool = False) -> Iterator[tuple[str, bool]]:
    """The steps whose output may be the list that an expression gives, each with True if items are left out of it.

    `through` are the filters whose input counts as their result.
    """
    if isinstance(node, nodes.Filter) and node.node is not None and node.name in through:
        yield from lists_in(node.node, through, less=less or node.name in _LEAVES_OUT)
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        yield from lists_in(node.node, through, less=True)
    elif isinstance(node, nodes.Or | nodes.And | nodes.Add):
        yield from lists_in(node.left, through, less=less)
        yield from lists_in(node.right, through, less=less)
    elif isinstance(node, nodes.CondExpr):
        yield from lists_in(node.expr1, through, less=less)
        if node.expr2 is not None:
            yield from lists_in(node.expr2, through, less=less)
    elif (path := path_of(node)) is not None and len(path) == 2 and path[0] == "steps":
        yield path[1], less
