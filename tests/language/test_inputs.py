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
