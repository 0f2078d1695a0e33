"""A file that extends another says only what differs, and problems point into the file they are in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from muster.language import examples, load_folder
from muster.language.reading import merged

Write = Callable[[str, str], Path]


def test_mappings_are_merged_null_removes_and_everything_else_replaces() -> None:
    below = {"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": 1}
    assert merged(below, {"a": {"c": [3]}, "d": None, "f": {"g": None}}) == {
        "a": {"b": 1, "c": [3]},
        "e": 1,
        "f": {"g": None},
    }
    assert below == {"a": {"b": 1, "c": [1, 2]}, "d": 1, "e": 1}


def test_steps_are_merged_by_their_id_and_new_ones_stand_behind_the_one_above(site: Path, write: Write) -> None:
    write("automations/office/_letter.yaml", examples.BASE)
    write("automations/office/a.yaml", examples.EXTENDING)
    definition = load_folder(site).definitions["read_and_file"]
    assert [step.id for step in definition.steps] == ["read", "file", "tell"]
    assert definition.step("read").timeout == 300
    assert definition.step("read").arguments == {"uri": "{{ inputs.uri }}"}
    assert definition.step("tell").after == ("file",)
    assert list(definition.inputs) == ["uri"]


def test_a_step_of_another_kind_replaces_the_one_it_extends(site: Path, write: Write) -> None:
    write(
        "automations/_base.yaml",
        "steps:\n  - {id: a, skill: office.read_letter, with: {uri: x}, timeout: 3m}\n",
    )
    write(
        "automations/a.yaml",
        "automation: a\nextends: _base.yaml\nsteps:\n  - {id: a, agent: clerk, ask: x}\n",
    )
    step = load_folder(site).definitions["a"].step("a")
    assert (step.kind, step.timeout, step.arguments) == ("agent", None, {})


def test_a_chain_of_files_is_merged_and_a_full_automation_can_be_extended(site: Path, write: Write) -> None:
    write("automations/one.yaml", "automation: one\ntitle: One\nsteps: [{id: a, agent: clerk, ask: one}]\n")
    write("automations/x/two.yaml", "automation: two\nextends: ../one.yaml\nsteps: [{id: a, ask: two}]\n")
    write("automations/x/three.yaml", "automation: three\nextends: two.yaml\nowner: me\n")
    definitions = load_folder(site).definitions
    assert list(definitions) == ["one", "three", "two"]
    assert [definitions[name].step("a").ask for name in ("one", "two", "three")] == ["one", "two", "two"]
    assert definitions["three"].title == "One"


def test_problems_point_into_the_file_that_holds_the_value(site: Path, write: Write) -> None:
    write(
        "automations/_base.yaml",
        """
        steps:
          - {id: a, agent: clerc, ask: x}
          - {id: b, agent: clerk, ask: x}
        """,
    )
    write("automations/_defaults.yaml", "deadlines: [{within: 3m, notify: [{slack: '{{ settings.no }}'}]}]\n")
    write(
        "automations/a.yaml",
        """
        automation: a
        extends: _base.yaml
        steps:
          - id: b
            ask: "{{ steps.c }}"
            retry: { times: -1 }
        """,
    )
    (shape,) = load_folder(site).problems
    assert shape.where == "include/automations/a.yaml:6:21"
    write(
        "automations/a.yaml",
        'automation: a\nextends: _base.yaml\nsteps:\n  - id: b\n    ask: "{{ steps.c }}"\n',
    )
    assert [problem.where for problem in load_folder(site).problems] == [
        "include/automations/_base.yaml:2:20",
        "include/automations/_defaults.yaml:1:43",
        "include/automations/a.yaml:5:10",
    ]


APPROVED = """steps:
  - {id: approve, human: {ask: Is it ours?, assignees: [clerk]}}
  - {id: approve, human: {ask: Pay it?, assignees: [boss]}}
"""


@pytest.mark.parametrize(("in_base", "file"), [(False, "a.yaml"), (True, "_base.yaml")])
def test_two_steps_of_one_id_in_one_file_are_refused(site: Path, write: Write, in_base: bool, file: str) -> None:
    """As they are where nothing is extended: the second question would take the place of the first."""
    tell = "steps: [{id: tell, notify: [{slack: '#x', text: one}]}]\n"
    write("automations/_base.yaml", APPROVED if in_base else tell)
    write("automations/a.yaml", "extends: _base.yaml\n" + (tell if in_base else APPROVED) + "automation: a\n")
    catalogue = load_folder(site)
    (problem,) = catalogue.problems
    assert problem.file == f"include/automations/{file}"
    assert problem.line == (3 if in_base else 4)
    assert problem.message == f"there are two steps `approve`; the first is in line {problem.line - 1}"
    assert not catalogue.definitions


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("a.yaml", "these files extend each other: a.yaml → a.yaml"),
        ("b.yaml", "these files extend each other: b.yaml → a.yaml → b.yaml"),
        ("none.yaml", "there is no file `none.yaml`"),
        ("../../../../etc/passwd", "outside the folder"),
    ],
)
def test_what_cannot_be_extended_is_located(site: Path, write: Write, target: str, message: str) -> None:
    write("automations/a.yaml", f"automation: a\nextends: {target}\nsteps: []\n")
    write("automations/b.yaml", "automation: b\nextends: a.yaml\nsteps: []\n")
    found = [p for p in load_folder(site).problems if p.file == "include/automations/a.yaml" and message in p.message]
    assert found
    assert found[0].line == 2


@pytest.mark.parametrize(
    "target",
    ["../shared/base.yaml", "base.yaml.in", ".base.yaml", ".old/base.yaml", "base.test.yaml", "linked/base.yaml"],
)
def test_nor_is_what_publishing_would_not_copy(site: Path, write: Write, target: str) -> None:
    base = write("shared/base.yaml", "steps: [{id: a, agent: clerk, ask: one}]\n")
    (site / "automations" / "linked").symlink_to(base.parent)
    if not (site / "automations" / target).exists():
        write(f"automations/{target}", base.read_text())
    write("automations/a.yaml", f"automation: a\nextends: {target}\n")
    (problem,) = load_folder(site).problems
    assert problem.message == f"`{target}` would not be published with this file"
    assert (problem.file, problem.line) == ("include/automations/a.yaml", 2)


def test_a_base_may_be_a_link(site: Path, write: Write) -> None:
    """As where a folder is mounted whose files are links into a hidden one."""
    write("automations/..data/_base.yaml", "steps: [{id: a, agent: clerk, ask: one}]\n")
    (site / "automations" / "_base.yaml").symlink_to("..data/_base.yaml")
    write("automations/a.yaml", "automation: a\nextends: _base.yaml\n")
    catalogue = load_folder(site)
    assert catalogue.problems == []
    assert list(catalogue.definitions) == ["a"]
