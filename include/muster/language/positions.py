"""Lists that are fanned out over: an item keeps its position from step to step, also when it is done again later."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from jinja2 import nodes

from muster.language.explain import Located
from muster.language.expressions import ExpressionSyntaxError, is_expression, only_expression, parse, path_of
from muster.language.problems import Problem
from muster.language.steps import MappedStep, StepBase

_LEAVES_OUT = frozenset({"present", "select", "reject", "selectattr", "rejectattr"})
_SAME_ITEMS = frozenset({"list", "sort", "reverse", "default", "d"})


def check_positions(steps: Sequence[StepBase], fan_outs: Collection[str], document: Located) -> Iterator[Problem]:
    """One problem for each step that fans out over the output of another fan-out with items left out of it.

    When an item that had failed comes through later, those behind it move up: the step would do again, as other work,
    what it has done, and would leave others out. Fanning out over the output itself does the same work in place.
    """
    for position, step in enumerate(steps):
        if isinstance(step, MappedStep) and isinstance(step.each, str) and (name := _filtered(step.each)) in fan_outs:
            message = f"the items of `{name}` lose their positions here: one that is redriven later moves the others"
            suggestion = (
                f'Write `each: "{{{{ steps.{name} }}}}"`: items that are null are passed over, '
                "and `when` can leave out others."
            )
            yield document.problem(message, ("steps", position, "each"), suggestion=suggestion)


def _filtered(text: str) -> str | None:
    """The step of which an expression gives the output with items left out."""
    try:
        if not is_expression(text) or parse(text).path is not None:
            return None
        node: nodes.Node | None = only_expression(text)
    except ExpressionSyntaxError:
        return None  # That is said elsewhere.
    leaves_out = False
    while True:
        if isinstance(node, nodes.Filter) and node.name in _LEAVES_OUT | _SAME_ITEMS:
            leaves_out = leaves_out or node.name in _LEAVES_OUT
            node = node.node
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            leaves_out, node = True, node.node
        else:
            break
    path = path_of(node) if node is not None else None
    return path[1] if leaves_out and path is not None and len(path) == 2 and path[0] == "steps" else None
