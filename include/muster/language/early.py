"""Expressions of an automation as it stands in its file, and those among them that are evaluated before any run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import UnionType

from muster.language.explain import Located
from muster.language.expressions import ExpressionError, ExpressionSyntaxError, References, evaluate, parse, texts
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path

_DECLARE = {
    "input": "Declare it under `inputs`: `inputs: { name: { type: string } }`.",
    "setting": "Write it under `settings`, or into `settings.yaml`.",
}
"""What is said where there is none at all."""


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
    """What is wrong with the expressions of a value that becomes part of the definition: it has to be known now.

    Args:
        gives: What each of its texts has to become.
    """
    for inner, text in texts(value):
        place = (*path, *inner)
        found = parsed(text, place, document)
        if isinstance(found, Problem):
            yield found
            continue
        if found.variables - {"settings"}:
            yield document.problem("only `settings` are known here, before a run", place)
        elif found.settings <= settings.keys():
            yield from _evaluated(text, place, settings, document, gives)
        yield from named(found.settings, settings, "setting", place, document)


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
