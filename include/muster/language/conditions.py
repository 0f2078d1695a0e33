"""Conditions, which are `when` of a step and of a branch's ways, and lists, which are `each`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set

from jinja2 import nodes

from muster.language.answers import KEEPING, NeitherTrueNorFalse
from muster.language.explain import Located
from muster.language.expression_errors import ExpressionError, error_of
from muster.language.expressions import (
    ExpressionSyntaxError,
    evaluate_seen,
    is_expression,
    only_expression,
    parse,
    texts,
    tree_of,
)
from muster.language.inputs import is_text
from muster.language.kinds import KINDS
from muster.language.paths import path_of
from muster.language.positions import lists_in
from muster.language.problems import Problem
from muster.language.reading import Path
from muster.language.site_catalog import SiteCatalog
from muster.language.steps import MappedStep, StepBase
from muster.language.truths import TextAsOperand, named, operands
from muster.language.usage import Usage

EXAMPLES = {"when": "{{ inputs.amount > 100 }}", "each": "{{ inputs.letters }}"}


def is_true(condition: bool | str, variables: Mapping[str, object], *, where: str) -> bool:
    """Whether a condition holds. A number is true unless it is 0; a list, a mapping unless it is empty; null never.

    Raises:
        ExpressionError: it fails on this data, or gives what Python always takes for true: text, even `false`, `no` and
            `0`; the answers about all items, even if nobody approved.
    """
    value = evaluate_seen(condition, variables, where=where, truth=True)
    if isinstance(value, str):
        remedy = 'Compare it, for example `{{ inputs.mode == "fast" }}`.'
        raise ExpressionError("it gives text, which is neither true nor false", str(condition), where, remedy=remedy)
    try:
        return bool(value)
    except NeitherTrueNorFalse as error:
        raise error_of(error, str(condition), where) from None


def check_conditions(
    steps: Sequence[StepBase],
    inputs: Mapping[str, object],
    fan_outs: Set[str],
    catalog: SiteCatalog,
    document: Located,
) -> Iterator[Problem]:
    """One problem for each condition that gives text whatever the data is, or asks whether text is true."""
    outputs = {step.id: KINDS[step.kind].gives(step, catalog) for step in steps if step.id not in fan_outs}
    known = {"inputs": inputs, "steps": outputs}
    for position, step in enumerate(steps):
        for condition, path in _conditions(step, ("steps", position)):
            if not isinstance(condition, str):
                continue
            if _gives_text(condition):
                message = "`when` is text, which is neither true nor false"
                yield document.problem(message, path, suggestion=_meant("when", condition))
            for operand in _text_asked_for_truth(condition, known):
                error = TextAsOperand(operand)
                yield document.problem(error.message.removesuffix("."), path, suggestion=error.remedy)


def _text_asked_for_truth(condition: str, known: Mapping[str, Mapping[str, object]]) -> Iterator[str]:
    """The names of what a condition asks for its truth, itself included, and can only be text; empty for a literal.

    `known` are the schemas of what there is below a variable.
    """
    try:
        whole = only_expression(condition) if is_expression(condition) else None
    except ExpressionSyntaxError:
        return  # The check of expressions reports it.
    if whole is None:
        return
    if _is_declared_text(whole, known):
        yield named(whole)
    for operand in operands(whole):
        if _writes_text(operand) or _is_declared_text(operand, known):
            yield named(operand)


def _is_declared_text(expression: nodes.Expr, known: Mapping[str, Mapping[str, object]]) -> bool:
    variable, *names = path_of(expression) or ("",)
    schemas = known.get(variable, {})
    return bool(names) and names[0] in schemas and is_text(names, schemas)


def check_lists(steps: Sequence[StepBase], document: Located) -> Iterator[Problem]:
    """One problem for each `each` that gives text whatever the data is: it would never be a list."""
    for position, step in enumerate(steps):
        if isinstance(step, MappedStep) and isinstance(step.each, str) and _gives_text(step.each):
            message = "`each` is text, which is no list"
            yield document.problem(message, ("steps", position, "each"), suggestion=_meant("each", step.each))


def check_answers(
    steps: Sequence[StepBase], questions: Set[str], usages: Mapping[str, Usage], document: Located
) -> Iterator[Problem]:
    """One problem for each expression that asks whether the answers about all items, as a whole, are true.

    `questions` are the fan-outs that ask people.
    """
    for position, step in enumerate(steps):
        used = usages.get(step.id)
        if used is None or not questions & (used.steps | used.undo.steps):
            continue
        path: Path = ("steps", position)
        conditions = {place for _, place in _conditions(step, path)}
        for place, text in texts(document.data["steps"][position], path):
            for name in _asked_as_a_whole(text, is_condition=place in conditions):
                if name in questions:
                    error = NeitherTrueNorFalse(f"steps.{name}")
                    yield document.problem(error.message.removesuffix("."), place, suggestion=error.remedy)


def _asked_as_a_whole(text: str, *, is_condition: bool) -> Iterator[str]:
    """The steps whose output, as a whole, a text uses as a truth value."""
    try:
        tree, whole = tree_of(text), only_expression(text)
    except ExpressionSyntaxError:
        return  # The check of expressions reports it.
    asked: list[nodes.Node] = [whole] if is_condition and whole is not None else []
    asked += [node.node for node in tree.find_all(nodes.Not)]
    asked += [node.left for node in tree.find_all((nodes.And, nodes.Or))]
    asked += [node.test for node in tree.find_all(nodes.CondExpr)]
    asked += [node.test for node in tree.find_all(nodes.If)]
    for expression in asked:
        for name, _ in lists_in(expression, KEEPING):
            yield name


def _conditions(step: StepBase, path: Path) -> Iterator[tuple[bool | str | None, Path]]:
    yield step.when, (*path, "when")
    for number, way in enumerate(step.ways):
        yield way.when, (*path, step.kind, number, "when")


def _gives_text(text: str) -> bool:
    """True for what is not exactly one expression, and for one that is a text in quotes or texts joined with `~`."""
    if not is_expression(text):
        return True
    try:
        if parse(text).path is not None:
            return False
        only = only_expression(text)
    except ExpressionSyntaxError:
        return False  # It gives nothing at all, and the check of expressions reports it.
    return only is None or _writes_text(only)


def _writes_text(expression: nodes.Expr) -> bool:
    written = isinstance(expression, nodes.Const) and isinstance(expression.value, str)
    return written or isinstance(expression, nodes.Concat)


def _meant(key: str, text: str) -> str:
    """What to write for a text that stands in place of a condition or of a list."""
    example = f'Write one expression, for example `{key}: "{EXAMPLES[key]}"`.'
    bare = re.sub(r"\{\{\s*(.*?)\s*\}\}", r"\1", text).strip(" ${}")
    if key == "when" and bare.lower() in ("true", "false"):
        return f"Write `when: {bare.lower()}`, without quotes."
    try:
        path = parse(expression := f"{{{{ {bare} }}}}").path
    except ExpressionSyntaxError:
        return example
    if _gives_text(expression) or (key == "each" and path is None):
        return example
    quote = "'" if '"' in expression else '"'
    return f"Write `{key}: {quote}{expression}{quote}`."
