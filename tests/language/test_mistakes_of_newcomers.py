"""What people are told who come from other tools: `mistakes_of_newcomers.yaml`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from muster.language import load_folder

TABLE = yaml.safe_load(Path(__file__).with_name("mistakes_of_newcomers.yaml").read_text())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["mistake"])
def test_a_newcomer_is_told_the_place_and_what_to_write(
    row: dict[str, str], site: Path, write: Callable[[str, str], Path]
) -> None:
    write("automations/tested.yaml", row["file"])
    told = [f"{p.line}:{p.column}: {p.message} >> {p.suggestion or ''}" for p in load_folder(site).problems]
    assert [line.removesuffix(" >> ") for line in told] == row["told"]


@pytest.mark.parametrize(
    "step",
    [
        "operator: airflow.providers.standard.operators.bash.BashOperator\n"
        "    with: { bash_command: \"for f in *; do echo ${f} $HOME; done | awk '{ print $1 }' | awk '{ output }'\" }",
        'notify: [{ slack: "#a", text: "It costs $5, or $ {{ run.id }}" }]',
        'notify: [{ slack: "#a", text: "{{ \'$AAPL\' }}" }]',
        "skill: office.read_letter\n    with: { uri: \"{'a': '$total'}\" }",
        'skill: office.read_letter\n    with: { uri: "psql --password $PGPASSWORD" }',
        "agent: clerk\n    ask: 'Answer as { \"department\": name }, with { } around it.'",
        'skill: office.read_letter\n    with: { uri: x }\n    when: "{{ steps.ask is not none and steps.ask.by }}"',
        "skill: office.read_letter\n    with: { uri: \"{{ steps.ask.note | default('x', true) }}\" }",
        'skill: office.read_letter\n    when: "{{ steps.ask.approved | default(false) }}"\n    with: { uri: x }',
        'skill: office.read_letter\n    when: "{{ run.id == run.id and steps.ask }}"\n    with: { uri: x }',
    ],
)
def test_what_only_resembles_a_mistake_is_let_pass(site: Path, write: Callable[[str, str], Path], step: str) -> None:
    asked = "- id: ask\n    when: '{{ run.id is defined }}'\n    human: { ask: May we?, assignees: [anna] }\n"
    write("automations/tested.yaml", f"automation: tested\nsteps:\n  {asked}  - id: go\n    {step}\n")
    assert [str(problem) for problem in load_folder(site).problems] == []
