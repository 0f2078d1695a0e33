"""Expressions of an automation's file: reading them, and checking those that are evaluated before any run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import UnionType

from muster.language.explain import Located
from muster.language.expression_errors import ExpressionError
from muster.language.expressions import ExpressionSyntaxError, References, evaluate, parse, texts
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path

_DECLARE = {
    "input": "Declare it under `inputs`: `inputs: { name: { type: string } }`.",
    "setting": "Write it under `settings`, or into `settings.yaml`.",
}
"""What to write when there is no other one of its kind."""


def parsed(text: str, place: Path, document: Located) -> References | Problem:
    """What a text refers to, or why it cannot be read."""
    try:
        return parse(text)
    except ExpressionSyntaxError as error:
        return document.problem(error.message, place, suggestion=error.suggestion, offset=error.line)


def named(names: Iterable[str], known: Iterable[str], kind: str, place: Path, document: Located) -> Iterator[Problem]:
    """One problem for each name that is not known."""
    have = list(known)
    for name in sorted(names):
        if name not in have:
            suggestion = did_you_mean(name, have) or (f"There are {', '.join(have)}." if have else _DECLARE.get(kind))
            yield document.problem(f"there is no {kind} `{name}`", place, suggestion=suggestion)


def check_early(
    value: object, path: Path, settings: Mapping[str, object], document: Located, *, gives: type | UnionType = object
) -> Iterator[Problem]:
    """What is wrong with the expressions of a value that is evaluated now, because it is a part of the definition.

    Args:
        gives: The type that each of its texts must evaluate to.
    """
    for inner, text in texts(value):
        place = (*path, *inner)
        references = parsed(text, place, document)
        if isinstance(references, Problem):
            yield references
            continue
        if references.variables - {"settings"}:
            yield document.problem("only `settings` are known here, before a run", place)
        elif references.settings <= settings.keys():
            yield from _evaluated(text, place, settings, document, gives)
        yield from named(references.settings, settings, "setting", place, document)


def _evaluated(
    text: str, place: Path, settings: Mapping[str, object], document: Located, gives: type | UnionType
) -> Iterator[Problem]:
    try:
        value = evaluate(text, {"settings": settings})
    except ExpressionError as error:
        yield document.problem(error.message.removesuffix("."), place, suggestion=error.remedy)
    else:
        if not isinstance(value, gives):
            suggestion = "Name a setting that is a text."
            yield document.problem(f"`{text}` gives no text here", place, suggestion=suggestion)
