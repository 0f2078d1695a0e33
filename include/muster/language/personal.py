"""`personal`: which data of a run is about a person, and so can be forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from muster.language.definition import ResolvedPersonal
from muster.language.expressions import ExpressionSyntaxError, parse
from muster.language.fields import Text, Words
from muster.language.problems import did_you_mean
from muster.language.usage import Usage
from muster.written import Written

if TYPE_CHECKING:
    from muster.language.explain import Located
    from muster.language.problems import Problem

PATTERN = r"^(inputs\.[a-z][a-z0-9_]*|steps\.[a-z][a-z0-9_]*\.output)(\.[A-Za-z_][A-Za-z0-9_]*)*$"


def _path(value: Any) -> Any:
    if not isinstance(value, str) or not re.fullmatch(PATTERN[1:-1], value):
        raise PydanticCustomError("path", "must be a path such as `inputs.email` or `steps.read.output.person`")
    return value


FieldPath = Annotated[
    str,
    BeforeValidator(_path),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["inputs.email", "steps.read.output.person"]}),
]
"""`inputs.<name>` or `steps.<id>.output`, and what is inside them."""


class Personal(Written):
    """Which data of a run is about a person. It is sealed in the log under a key of that person's own, and
    `muster forget` throws the key away.

    A step whose expressions use a marked input, or the output of a step with marked data, is taken to pass it on:
    all it writes is sealed too, unless `impersonal` names it. In a list, a path goes into every entry.
    """

    subject: Text
    """An expression over `inputs` and `settings` that names the person, for example `{{ inputs.customer }}`."""
    fields: Annotated[list[FieldPath], Field(min_length=1)]
    """What is personal: `inputs.email`, `steps.read.output.person`, or all of a step's output: `steps.read.output`."""
    impersonal: Words = []
    """Steps that use personal data and write none."""


def resolve_personal(personal: Personal | None, usages: Mapping[str, Usage]) -> ResolvedPersonal | None:
    """`personal` with the steps that pass the data on, found by what they refer to."""
    if personal is None:
        return None
    inputs = [field.removeprefix("inputs.") for field in personal.fields if field.startswith("inputs.")]
    outputs: dict[str, list[str]] = {}
    for field in personal.fields:
        if field.startswith("steps."):
            _, step, _, *path = field.split(".")
            outputs.setdefault(step, []).append(".".join(path))
    return ResolvedPersonal(
        subject=personal.subject,
        inputs=tuple(sorted(inputs)),
        outputs={step: tuple(sorted(paths)) for step, paths in sorted(outputs.items())},
        passing=tuple(sorted(_passing(inputs, outputs, usages, personal.impersonal) - outputs.keys())),
    )


def _passing(
    inputs: Sequence[str], outputs: Mapping[str, object], usages: Mapping[str, Usage], impersonal: Sequence[str]
) -> set[str]:
    """The steps that use personal data, directly or through others."""
    names = {path.partition(".")[0] for path in inputs}
    found: set[str] = set()
    while True:
        sources = found | outputs.keys()
        more = {
            step
            for step, used in usages.items()
            if step not in impersonal and (used.steps & sources or _inputs_of(used) & names)
        }
        if more <= found:
            return found
        found |= more


def _inputs_of(used: Usage) -> frozenset[str]:
    return used.each.inputs | used.when.inputs | used.work.inputs | used.undo.inputs


def check_personal(
    personal: Personal | None, inputs: Mapping[str, object], steps: Sequence[str], document: Located
) -> Iterator[Problem]:
    """What of `personal` does not fit the automation."""
    if personal is None:
        return
    for number, field in enumerate(personal.fields):
        kind, _, rest = field.partition(".")
        name, known = rest.partition(".")[0], list(inputs) if kind == "inputs" else list(steps)
        if name not in known:
            what = "input" if kind == "inputs" else "step"
            message = f"there is no {what} `{name}`"
            yield document.problem(message, ("personal", "fields", number), suggestion=did_you_mean(name, known))
    for name in personal.impersonal:
        if name not in steps:
            hint = did_you_mean(name, list(steps))
            yield document.problem(f"there is no step `{name}`", ("personal", "impersonal"), suggestion=hint)
    yield from _check_subject(personal.subject, inputs, document)


def _check_subject(subject: str, inputs: Mapping[str, object], document: Located) -> Iterator[Problem]:
    place = ("personal", "subject")
    try:
        found = parse(subject)
    except ExpressionSyntaxError as error:
        yield document.problem(error.message, place, suggestion=error.suggestion, offset=error.line)
        return
    if not found.inputs:
        yield document.problem("`subject` names nobody: it uses no input", place)
    if found.variables - {"inputs", "settings"}:
        yield document.problem("only `inputs` and `settings` are known here, where a run begins", place)
    for name in sorted(found.inputs - inputs.keys()):
        yield document.problem(f"there is no input `{name}`", place, suggestion=did_you_mean(name, list(inputs)))
