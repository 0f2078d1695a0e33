"""Expressions of an automation's file: reading them, and checking those that are evaluated before any run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from types import UnionType
from typing import cast

from muster.language.explain import Located
from muster.language.expression_errors import ExpressionError
from muster.language.expressions import ExpressionSyntaxError, evaluate, known_variables, parse, texts
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path
from muster.language.references import References

RUN_KEYS = ("id", "automation", "requested_by", "opened_at", "scheduled_at", "interval_start", "interval_end", "today")
"""What `run` holds."""

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
        meant = _variable_meant(error, place, document.data) if error.unknown else error.suggestion
        return document.problem(error.message, place, suggestion=meant, offset=error.line)


def _variable_meant(error: ExpressionSyntaxError, place: Path, data: Mapping[str, object]) -> str | None:
    """What a name means that is no variable: a step, an input or a setting without the word before it, or the item."""
    name, *rest = error.unknown
    written = data.get("steps")
    steps = [step if isinstance(step, Mapping) else {} for step in written] if isinstance(written, list) else []
    ids = [step["id"] for step in steps if "id" in step]
    parts = {"run": RUN_KEYS, "settings": data.get("settings") or (), "inputs": data.get("inputs") or (), "steps": ids}
    parents = {str(known): parent for parent, names in parts.items() for known in cast("Iterable[object]", names)}
    if name in parents:
        return f"Write `{'.'.join((parents[name], name, *rest))}`."
    if error.suggestion != known_variables():
        return error.suggestion
    if place[:1] == ("steps",) and isinstance(place[1], int) and "each" in steps[place[1]]:
        return f"Write `{'.'.join(('item', *rest))}`: each item of `each` is called `item`."
    near = difflib.get_close_matches(name, parents, n=1, cutoff=0.7)
    return f"Did you mean `{parents[near[0]]}.{near[0]}`?" if near else error.suggestion


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
