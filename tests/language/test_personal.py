"""Promises of `personal`: marks are checked at their place, and steps that pass the data on are found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from muster.language import Definition
from muster.language.resolved import ResolvedPersonal

Define = Callable[[str], Definition]
Problems = Callable[[str], list[str]]

AUTOMATION = """\
automation: a
inputs: {{customer: {{}}, email: {{}}, size: {{}}}}
personal: {personal}
steps:
  - {{id: one, skill: office.read_letter, with: {{uri: "{{{{ inputs.email }}}}"}}}}
  - {{id: two, skill: office.read_letter, with: {{uri: "{{{{ steps.one.uri }}}}"}}}}
  - {{id: three, skill: office.read_letter, with: {{uri: "{{{{ inputs.size }}}}"}}}}
  - {{id: four, skill: office.read_letter, with: {{uri: "{{{{ steps.two.uri }}}}"}}}}
"""


def test_what_stays_readable_is_named_with_what_in_it_does_not(define: Define) -> None:
    personal = '{subject: "{{ inputs.customer }}", impersonal: [two, three], fields: [steps.three.output.a]}'
    found = define(AUTOMATION.format(personal=personal)).personal
    assert found is not None
    assert (found.impersonal, found.outputs, found.passing) == (("three", "two"), {"three": ("a",)}, ())


def test_a_definition_of_an_earlier_version_is_still_read(define: Define) -> None:
    definition = define(AUTOMATION.format(personal='{subject: "{{ inputs.customer }}"}'))
    old = {"subject": "{{ inputs.customer }}", "inputs": ["email"], "outputs": {"one": [""]}, "passing": ["two"]}
    text = definition.model_copy(update={"personal": ResolvedPersonal.model_validate(old)}).canonical_json()
    assert Definition.model_validate_json(text).personal == ResolvedPersonal.model_validate(old)


@pytest.mark.parametrize(
    ("personal", "expected"),
    [
        ('{subject: "{{ inputs.customr }}", fields: [inputs.email]}', "there is no input `customr` Did you mean"),
        ('{subject: "{{ steps.one.uri }}", fields: [inputs.email]}', "only `inputs` and `settings` are known here"),
        ("{subject: jane, fields: [inputs.email]}", "`subject` names nobody: it uses no input"),
        ('{subject: "{{ inputs.customer", fields: [inputs.email]}', "not an expression"),
        (
            '{subject: "{{ inputs.customer }}", fields: [inputs.emial]}',
            "there is no input `emial` Did you mean `email`?",
        ),
        ('{subject: "{{ inputs.customer }}", fields: [steps.on.output]}', "there is no step `on` Did you mean `one`?"),
        ('{subject: "{{ inputs.customer }}", fields: [inputs]}', "entry 1 must be a path such as `inputs.email`"),
        ('{subject: "{{ inputs.customer }}", fields: [steps.one]}', "entry 1 must be a path such as `inputs.email`"),
        ('{subject: "{{ inputs.customer }}", fields: [inputs.email], impersonal: tow}', "there is no step `tow`"),
        ('{subject: "{{ inputs.customer }}", feilds: [inputs.email]}', "unknown key `feilds` Did you mean `fields`?"),
    ],
)
def test_a_mark_that_does_not_fit_is_located(problems: Problems, personal: str, expected: str) -> None:
    said = problems(AUTOMATION.format(personal=personal))
    assert any(problem.partition(": ")[2].startswith(expected) for problem in said), said
    assert all(problem.startswith("3:") for problem in said)
