"""What expressions take out of steps' outputs: names that are not in them, and answers that nobody may have given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from jinja2 import nodes

from muster.language import inputs as schemas
from muster.language.explain import Located
from muster.language.expressions import ExpressionSyntaxError, is_expression, only_expression, parse, texts
from muster.language.kinds import KINDS
from muster.language.paths import path_of
from muster.language.problems import Problem
from muster.language.reading import Path
from muster.language.site_catalog import SiteCatalog
from muster.language.steps import MappedStep, StepBase
from muster.language.usage import Usage


def check_outputs(
    steps: Sequence[StepBase], usages: Mapping[str, Usage], catalog: SiteCatalog, document: Located
) -> Iterator[Problem]:
    """One problem for each name that is looked for in the output of a step and cannot be in it."""
    by_id = {step.id: step for step in steps}
    fan_outs = {step.id for step in steps if isinstance(step, MappedStep) and step.each is not None}
    for position, step in enumerate(steps):
        used = usages.get(step.id)
        if used is None or not any(part.below for part in (used.each, used.when, used.work, used.undo)):
            continue
        for place, text in texts(document.data["steps"][position], ("steps", position)):
            for path in sorted(_below(text)):
                if path[0] in by_id and (wrong := _nothing(path, by_id[path[0]], fan_outs, catalog)) is not None:
                    yield document.problem(wrong.message, place, suggestion=wrong.suggestion)
        yield from _unanswered(step, by_id, ("steps", position, "when"), document)


def _below(text: str) -> frozenset[tuple[str, ...]]:
    try:
        return parse(text).below
    except ExpressionSyntaxError:
        return frozenset()  # That is said elsewhere.


def _nothing(path: tuple[str, ...], step: StepBase, fan_outs: set[str], catalog: SiteCatalog) -> schemas.Nothing | None:
    """Why there is nothing at a path into a step's output; None where there may be."""
    name, *rest = path
    if name in fan_outs:
        message = f"`steps.{name}` is a list, with what came of each item, and has no `{rest[0]}`"
        one = f"`steps.{name}[index].{'.'.join(rest)}` in a step with the same `each`"
        return schemas.Nothing(message, f"Write {one}, or for all `steps.{name} | map(attribute='{'.'.join(rest)}')`.")
    given = KINDS[step.kind].gives(step, catalog)
    return schemas.inside(path, {name: given}, "steps") if given is not None else None


def _unanswered(step: StepBase, by_id: Mapping[str, StepBase], place: Path, document: Located) -> Iterator[Problem]:
    """A condition about the output of a step that may have been skipped: of nothing it can be asked nothing."""
    if not isinstance(step.when, str) or not is_expression(step.when):
        return
    try:
        expression = only_expression(step.when)
    except ExpressionSyntaxError:
        return  # That is said elsewhere.
    for path in sorted(set(_asked_always(expression))) if expression is not None else ():
        other = by_id.get(path[1]) if path[0] == "steps" and len(path) > 2 else None
        if other is not None and other.when not in (None, True) and other.when != step.when:
            name = f"steps.{other.id}"
            message = f"`{name}` is null where its `when` is false, so `{'.'.join(path)}` fails the step then"
            yield document.problem(message, place, suggestion=f"Write `{name} is not none and …` before it.")


def _asked_always(node: nodes.Node) -> Iterator[tuple[str, ...]]:
    """The paths that an expression follows whatever the data is, without those of which it asks whether they exist."""
    if (path := path_of(node)) is not None:
        yield path
    elif isinstance(node, nodes.And | nodes.Or):
        yield from _asked_always(node.left)
    elif isinstance(node, nodes.CondExpr):
        yield from _asked_always(node.test)
    elif not isinstance(node, nodes.Test) and not (isinstance(node, nodes.Filter) and node.name in ("default", "d")):
        for child in node.iter_child_nodes():
            yield from _asked_always(child)
