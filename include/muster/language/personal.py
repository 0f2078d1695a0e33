"""`personal`: which data of a run is about a person, and so can be forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from muster.language.expressions import ExpressionSyntaxError, parse
from muster.language.fields import Text, Words
from muster.language.problems import did_you_mean
from muster.language.resolved import ResolvedPersonal
from muster.yaml_model import YamlModel

if TYPE_CHECKING:
    from muster.language.explain import Located
    from muster.language.problems import Problem

PATTERN = r"^(inputs\.[a-z][a-z0-9_]*|steps\.[a-z][a-z0-9_]*\.output)(\.[A-Za-z_][A-Za-z0-9_]*)*$"


def _path(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(PATTERN[1:-1], value):
        raise PydanticCustomError("path", "must be a path such as `inputs.email` or `steps.read.output.person`")
    return value


FieldPath = Annotated[
    str,
    BeforeValidator(_path),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["inputs.email", "steps.read.output.person"]}),
]
"""`inputs.<name>` or `steps.<id>.output`, and what is inside them."""


class Personal(YamlModel):
    """Whom a run is about. All that is said in such a run is sealed under a key of that person's own, which
    `muster forget` throws away: inputs, outputs, prompts, errors, findings, notes. What stays readable is the
    structure: steps, states, times, counts, and who approved. A run that a step asks for is about the same person.
    Names are the same with spaces around them and without, and differ in upper and lower case.
    """

    subject: Text
    """An expression over `inputs` and `settings` that names the person, or a list of them: `{{ inputs.customer }}`. It
    gives texts or numbers, null and empty ones aside; a run with which it cannot fails as it opens."""
    impersonal: Words = []
    """Steps whose outputs say nothing about a person, and stay readable when the person is forgotten."""
    fields: list[FieldPath] = []
    """What is personal in the output of an impersonal step, such as `steps.read.output.person`. Everything else is
    sealed without being named; to name it tells readers what it is about."""


def resolve_personal(personal: Personal | None) -> ResolvedPersonal | None:
    """`personal` as it is in a definition: its paths by step."""
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
        impersonal=tuple(sorted(personal.impersonal)),
        inputs=tuple(sorted(inputs)),
        outputs={step: tuple(sorted(paths)) for step, paths in sorted(outputs.items())},
    )


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
        references = parse(subject)
    except ExpressionSyntaxError as error:
        yield document.problem(error.message, place, suggestion=error.suggestion, offset=error.line)
        return
    if not references.inputs:
        yield document.problem("`subject` names nobody: it uses no input", place)
    if references.variables - {"inputs", "settings"}:
        yield document.problem("only `inputs` and `settings` are known here, where a run begins", place)
    for name in sorted(references.inputs - inputs.keys()):
        yield document.problem(f"there is no input `{name}`", place, suggestion=did_you_mean(name, list(inputs)))
