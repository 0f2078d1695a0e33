"""What `returns` says is a schema that can be used, or a type that there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from muster.language import load_folder

Write = Callable[[str, str], Path]

ASK = "automation: a\nsteps:\n  - id: s\n    agent: clerk\n    ask: x\n    returns: {returns}\n"
WRONG = [
    ("{type: nonsense}", "not a JSON Schema"),
    ("{$ref: '#/nope'}", "refers (`$ref`) to `#/nope`, which is not in it"),
    ("{$defs: {a: {items: {$ref: '#/$defs/a'}}}, $ref: '#/$defs/a'}", "neither to itself nor elsewhere"),
    ("{properties: {a: {$ref: 'https://example.com/x'}}}", "neither to itself nor elsewhere"),
    ("office.Nope", "there is no type `office.Nope`"),
    ("list[nowhere.Letter]", "there is no type `nowhere.Letter`"),
    ("Letter", "there is no type `Letter`"),
    ("office.read_letter", "there is no type `office.read_letter`"),
    ("'skill:office.nope'", "there is no skill `office.nope`"),
]


@pytest.mark.parametrize(("returns", "message"), WRONG)
def test_what_no_run_could_use_is_refused(site: Path, write: Write, returns: str, message: str) -> None:
    write("automations/a.yaml", ASK.format(returns=returns))
    (problem,) = load_folder(site).problems
    assert message in problem.message
    assert (problem.file, problem.line) == ("include/automations/a.yaml", 6)


def test_so_it_is_of_an_agent(site: Path, write: Write) -> None:
    agent = "department: other\nagents:\n  - {id: other, role: Another., tiers: [x], returns: office.Nope}\n"
    write("agents/other.yaml", agent)
    (problem,) = load_folder(site).problems
    assert problem.message == "there is no type `office.Nope`"
    assert (problem.file, problem.line) == ("include/agents/other.yaml", 3)


@pytest.mark.parametrize(
    "returns",
    [
        "office.Letter",
        "list[office.Letter]",
        "finance.CodedInvoice",
        "'skill:office.read_letter'",
        "{type: object, properties: {a: {$ref: '#/$defs/n'}}, $defs: {n: {type: number}}}",
    ],
)
def test_what_a_run_can_use_is_taken(site: Path, write: Write, returns: str) -> None:
    write("automations/a.yaml", ASK.format(returns=returns))
    assert load_folder(site).problems == []


def test_a_skill_is_where_runs_look_for_it(site: Path, write: Write) -> None:
    """`get_skill` finds `letters.read` in `letters.py` and nowhere else."""
    text = "from muster.skills import skill\n\n\n@skill('letters.read')\ndef read() -> str:\n    return 'x'\n"
    other = write("skills/post.py", text)
    write("automations/a.yaml", "automation: a\nsteps: [{id: s, skill: letters.read}]\n")
    (problem,) = load_folder(site).problems
    assert problem.message == "there is no skill `letters.read`"
    assert problem.suggestion == f"{other} has it, where no run looks: move it to {site / 'skills' / 'letters.py'}."
    other.rename(other.with_name("letters.py"))
    assert load_folder(site).problems == []
