"""An automation that runs others fits them, and never comes back to itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from muster.language import load_folder

Write = Callable[[str, str], Path]

LETTER = """automation: letter
inputs: {uri: {type: string}, folder: {type: string, default: inbox}}
steps:
  - {id: read, skill: office.read_letter, with: {uri: "{{ inputs.uri }}"}}
"""
HEAD = "automation: a\nsteps:\n"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("{id: s, run: leter, with: {uri: x}}", "3:18: there is no automation `leter` Did you mean `letter`?"),
        ("{id: s, run: letter}", "3:18: the automation `letter` needs `uri` Give it in `with`"),
        (
            "{id: s, run: letter, with: {uri: x, foldr: y}}",
            "3:41: the automation `letter` has no input `foldr` Did you mean `folder`?",
        ),
        ("{id: s, run: a}", "3:18: these automations run each other: a → a A run would never end"),
        ("{id: s, run: letter, with: {uri: x}, pack: 3}", "3:42: a run step takes no `pack`"),
        ("{id: s, run: letter, with: {uri: x}, lane: async}", "3:42: a run step takes no `lane`"),
        ("{id: s, run: letter, with: {uri: x}, lock: [a]}", "3:42: a run step takes no `lock`"),
        ("{id: s, run: letter, with: {uri: x}, irreversible: true}", "3:42: a run step takes no `irreversible`"),
        ("{id: s, run: letter, with: {uri: x}, retry: {times: 1}}", "3:42: a run step takes no `retry`"),
        (
            "{id: s, run: letter, with: {uri: x}, compensate: {skill: office.file_letter}}",
            "3:42: a run step takes no `compensate`",
        ),
        ("{id: s, run: letter, with: {uri: '{{ inputs.x }}'}}", "3:38: there is no input `x`"),
    ],
)
def test_a_run_that_does_not_fit_is_located(site: Path, write: Write, step: str, expected: str) -> None:
    write("automations/letter.yaml", LETTER)
    write("automations/a.yaml", f"{HEAD}  - {step}\n")
    for catalogue in (load_folder(site), load_folder(site, only="a")):
        assert "a" not in catalogue.definitions
        (problem,) = catalogue.problems
        said = f"{problem.line}:{problem.column}: {problem.message} {problem.suggestion or ''}"
        assert said.startswith(expected)
    assert "letter" in load_folder(site).definitions


def test_automations_that_run_each_other_are_found_with_the_way_around(site: Path, write: Write) -> None:
    for name, other in {"a": "b", "b": "c", "c": "b", "d": "c"}.items():
        write(f"automations/{name}.yaml", f"automation: {name}\nsteps:\n  - {{id: s, run: {other}}}\n")
    catalogue = load_folder(site)
    assert sorted(catalogue.definitions) == ["a", "d"]
    assert [problem.message for problem in catalogue.problems] == [
        "these automations run each other: b → c → b",
        "these automations run each other: c → b → c",
    ]
    assert load_folder(site, only="c").definitions == {}


def test_an_automation_that_is_not_valid_does_not_take_those_along_that_run_it(site: Path, write: Write) -> None:
    write("automations/letter.yaml", LETTER.replace("office.read_letter", "office.red_letter"))
    write("automations/a.yaml", HEAD + "  - {id: s, run: letter, with: {anything: x}}\n")
    assert list(load_folder(site).definitions) == ["a"]
    assert list(load_folder(site, only="a").definitions) == ["a"]


def test_a_folders_default_for_work_does_not_bound_a_run(site: Path, write: Write) -> None:
    write("automations/_defaults.yaml", "defaults: {timeout: 5m, retry: {times: 3}}\n")
    write("automations/letter.yaml", LETTER)
    write(
        "automations/a.yaml",
        HEAD + "  - {id: s, run: letter, with: {uri: x}}\n  - {id: t, run: letter, with: {uri: x}, timeout: 1h}\n",
    )
    first, second = load_folder(site).definitions["a"].steps
    assert (first.timeout, first.retry.times, second.timeout) == (None, 0, 3600.0)
