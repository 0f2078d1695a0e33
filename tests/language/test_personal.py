"""Promises of `personal`: marks are checked at their place, and steps that pass the data on are found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from muster.language import Definition

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


def test_steps_that_pass_marked_data_on_are_found_through_others(define: Define) -> None:
    personal = '{subject: "{{ inputs.customer }}", fields: [inputs.email]}'
    found = define(AUTOMATION.format(personal=personal)).personal
    assert found is not None
    assert (found.inputs, found.outputs, found.passing) == (("email",), {}, ("four", "one", "two"))


def test_a_step_said_to_be_impersonal_ends_the_way(define: Define) -> None:
    personal = '{subject: "{{ inputs.customer }}", fields: [inputs.email, steps.three.output.a], impersonal: two}'
    found = define(AUTOMATION.format(personal=personal)).personal
    assert found is not None
    assert (found.outputs, found.passing) == ({"three": ("a",)}, ("one",))


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
        ('{subject: "{{ inputs.customer }}", fields: []}', "`fields` must not be empty"),
        ('{subject: "{{ inputs.customer }}", fields: [inputs.email], impersonal: tow}', "there is no step `tow`"),
        ('{subject: "{{ inputs.customer }}", feilds: [inputs.email]}', "unknown key `feilds` Did you mean `fields`?"),
    ],
)
def test_a_mark_that_does_not_fit_is_located(problems: Problems, personal: str, expected: str) -> None:
    said = problems(AUTOMATION.format(personal=personal))
    assert any(problem.partition(": ")[2].startswith(expected) for problem in said), said
    assert all(problem.startswith("3:") for problem in said)
