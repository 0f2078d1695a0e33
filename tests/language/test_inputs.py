"""What lint says about declared inputs: it never fails itself, and refuses nothing that a schema allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.language import load_folder

NOTICE = 'notify: [{ slack: "#a", text: "%s" }]\n'
OPEN = "type: object, properties: { x: { type: string } }"


def lint(folder: Path, schema: str, expression: str, *, each: str = "", when: str = "") -> list[str]:
    """What is wrong with an automation that has an input `o`, beside one that is right."""
    (folder / "automations").mkdir()
    keys = "".join(f'    {key}: "{value}"\n' for key, value in {"each": each, "when": when}.items() if value)
    text = f"automation: tested\ninputs:\n  o: {schema}\nsteps:\n  - id: tell\n{keys}    {NOTICE % expression}"
    (folder / "automations" / "tested.yaml").write_text(text)
    right = f"automation: right\nsteps:\n  - id: tell\n    {NOTICE % 'hi'}"
    (folder / "automations" / "right.yaml").write_text(right)
    catalogue = load_folder(folder)
    assert "right" in catalogue.definitions
    return [problem.message for problem in catalogue.problems]


@pytest.mark.parametrize("properties", ["", "5", "[x]", "x"])
@pytest.mark.parametrize("each", ["", "{{ inputs.o.x }}"])
def test_a_wrong_schema_is_one_problem_and_hides_no_other_automation(
    tmp_path: Path, properties: str, each: str
) -> None:
    (said,) = lint(tmp_path, f"{{ type: object, properties: {properties} }}", "{{ inputs.o.x }}", each=each)
    assert said.startswith("not a JSON Schema")


@pytest.mark.parametrize(
    ("schema", "expression"),
    [
        (f"{{ {OPEN}, additionalProperties: true }}", "{{ inputs.o.y }}"),
        (f"{{ {OPEN}, unevaluatedProperties: true }}", "{{ inputs.o.y }}"),
        (f"{{ {OPEN}, required: [y] }}", "{{ inputs.o.y }}"),
        (f"{{ {OPEN}, default: {{ y: 1 }} }}", "{{ inputs.o.y }}"),
        (
            "{ type: object, properties: { x: { type: object, properties: { a: {} } } }, default: { x: { y: 1 } } }",
            "{{ inputs.o.x.y }}",
        ),
        (f"{{ {OPEN}, dependentSchemas: {{ x: {{ properties: {{ y: {{}} }} }} }} }}", "{{ inputs.o.y }}"),
        (f"{{ {OPEN}, if: {{ required: [x] }}, then: {{ required: [y] }} }}", "{{ inputs.o.y }}"),
    ],
)
def test_what_a_schema_allows_is_not_refused(tmp_path: Path, schema: str, expression: str) -> None:
    assert lint(tmp_path, schema, expression) == []


@pytest.mark.parametrize(
    "expression",
    [
        "{{ inputs.o.y is defined }}",
        "{{ inputs.o.y is undefined }}",
        "{{ inputs.o.y | default('none') }}",
        "{{ inputs.o['y'] | d('none') }}",
        "{% if inputs.o.y is defined %}{{ inputs.o.y }}{% endif %}",
        "{{ inputs.o.y if 'y' in inputs.o else 'none' }}",
        "{{ inputs.o.y.z | default('none') }}",
    ],
)
def test_what_the_author_takes_for_optional_may_be_missing(tmp_path: Path, expression: str) -> None:
    assert lint(tmp_path, f"{{ {OPEN} }}", expression) == []


def test_it_may_also_be_asked_in_another_place(tmp_path: Path) -> None:
    assert lint(tmp_path, f"{{ {OPEN} }}", "{{ inputs.o.y }}", when="{{ inputs.o.y is defined }}") == []


def test_what_is_asked_of_one_name_is_not_asked_of_another(tmp_path: Path) -> None:
    (said,) = lint(tmp_path, f"{{ {OPEN} }}", "{{ inputs.o.y }} {{ inputs.o.z | default('none') }}")
    assert said == "`inputs.o` declares no `y`"
