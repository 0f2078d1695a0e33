"""A folder is read whole: what is right runs, what is wrong is said, and neither hides the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from muster.language import load_folder

Write = Callable[[str, str], Path]

GOOD = "automation: {name}\nsteps:\n  - {{id: read, skill: office.read_letter, with: {{uri: x}}}}\n"


def test_one_bad_file_never_hides_the_others(site: Path, write: Write) -> None:
    write("automations/a/good.yaml", GOOD.format(name="good"))
    write("automations/b/better.yml", GOOD.format(name="better"))
    (site / "automations" / "latin.yaml").write_bytes(b"automation: \xe4\n")
    write("automations/c/bad.yaml", "automation: bad\nsteps: 3\n")
    write("automations/c/broken.yaml", "automation: [\n")
    catalogue = load_folder(site)
    assert list(catalogue.definitions) == ["better", "good"]
    assert catalogue.sources["good"] == site / "automations" / "a" / "good.yaml"
    assert [problem.file for problem in catalogue.problems] == [
        "include/automations/c/bad.yaml",
        "include/automations/c/broken.yaml",
        "include/automations/latin.yaml",
    ]
    assert {path.name for path in catalogue.broken} == {"bad.yaml", "broken.yaml", "latin.yaml"}


@pytest.mark.parametrize("published", [False, True])
def test_nor_does_one_with_a_setting_that_is_not_there_below_another(site: Path, write: Write, published: bool) -> None:
    write("automations/good.yaml", GOOD.format(name="good"))
    deadline = "incidents: [{slack: '{{ settings.finance.inbx }}'}]\nsettings: {finance: {inbox: in}}\n"
    write("automations/bad.yaml", GOOD.format(name="bad") + deadline)
    catalogue = load_folder(site, published=published)
    assert list(catalogue.definitions) == ["good"]
    (problem,) = catalogue.problems
    assert problem.file == "include/automations/bad.yaml"
    assert "there is no `inbx`" in problem.message


def test_of_two_automations_with_one_name_neither_wins(site: Path, write: Write) -> None:
    write("automations/a.yaml", GOOD.format(name="same"))
    write("automations/b/c.yaml", "# a comment\n" + GOOD.format(name="same"))
    write("automations/d.yaml", GOOD.format(name="other"))
    catalogue = load_folder(site)
    assert list(catalogue.definitions) == ["other"]
    assert [(problem.where, problem.message) for problem in catalogue.problems] == [
        (
            "include/automations/a.yaml:1:13",
            "another automation is named `same`: include/automations/b/c.yaml:2:13",
        ),
        (
            "include/automations/b/c.yaml:2:13",
            "another automation is named `same`: include/automations/a.yaml:1:13",
        ),
    ]


def test_files_that_are_no_automations_are_passed_over(site: Path, write: Write) -> None:
    write("automations/_draft.yaml", "anything")
    write("automations/.hidden.yaml", "anything")
    write("automations/.git/config.yaml", "anything")
    write("automations/readme.md", "anything")
    catalogue = load_folder(site)
    assert (catalogue.definitions, catalogue.problems) == ({}, [])


def test_a_folder_that_is_not_there_has_no_automations(tmp_path: Path) -> None:
    catalogue = load_folder(tmp_path / "nothing")
    assert (catalogue.definitions, catalogue.problems) == ({}, [])


def test_defaults_go_down_the_folders_and_the_nearest_wins(site: Path, write: Write) -> None:
    write(
        "automations/_defaults.yaml",
        "owner: all\ncategory: top\ndefaults: {timeout: 1m, pool: p}\nsettings: {limit: 1, a: {b: 1, c: 1}}\n",
    )
    write("automations/x/_defaults.yaml", "category: below\ndefaults: {timeout: 2m}\nsettings: {a: {c: 2}}\n")
    write("automations/x/y/a.yaml", GOOD.format(name="a") + "settings: {own: true}\n")
    write("automations/z/b.yaml", GOOD.format(name="b") + "category: mine\nowner: null\n")
    catalogue = load_folder(site)
    assert catalogue.problems == []
    a, b = catalogue.definitions["a"], catalogue.definitions["b"]
    assert (a.owner, a.category, b.owner, b.category) == ("all", "below", None, "mine")
    assert (a.step("read").timeout, a.step("read").pool, b.step("read").timeout) == (120, "p", 60)
    assert a.settings == {
        "office_channel": "#office", "inbox": "/srv/letters", "limit": 1, "a": {"b": 1, "c": 2}, "own": True,
    }  # fmt: skip


def test_a_mistake_in_the_defaults_is_said_once_and_stops_the_automations_below_only(site: Path, write: Write) -> None:
    write("automations/x/_defaults.yaml", "ownr: all\n")
    write("automations/x/a.yaml", GOOD.format(name="a"))
    write("automations/x/b.yaml", GOOD.format(name="b"))
    write("automations/c.yaml", GOOD.format(name="c"))
    catalogue = load_folder(site)
    assert list(catalogue.definitions) == ["c"]
    (problem,) = catalogue.problems
    assert (problem.where, problem.suggestion) == (
        "include/automations/x/_defaults.yaml:1:1",
        "Did you mean `owner`?",
    )
    assert {path.name for path in catalogue.broken} == {"a.yaml", "b.yaml"}


def test_the_settings_of_the_environment_are_laid_over_the_others(
    site: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("settings.yaml", "limit: 1\nnested: {a: 1, b: 1}\n")
    write("settings.production.yaml", "nested: {b: 2}\n")
    write("automations/a.yaml", GOOD.format(name="a"))
    assert load_folder(site).definitions["a"].settings == {"limit": 1, "nested": {"a": 1, "b": 1}}
    monkeypatch.setenv("MUSTER_ENVIRONMENT", "production")
    assert load_folder(site).definitions["a"].settings == {"limit": 1, "nested": {"a": 1, "b": 2}}
    monkeypatch.setenv("MUSTER_ENVIRONMENT", "prodution")
    (problem,) = load_folder(site).problems
    assert problem.file == "include/settings.prodution.yaml"


@pytest.mark.parametrize(
    ("text", "where"),
    [("Limit: 1\n", "1:1"), ("- a\n", "1:1"), ('a: {b: "{{ inputs.x }}"}\n', "1:8"), ("a: 1\na: 2\n", "2:1")],
)
def test_mistakes_in_settings_are_located(site: Path, write: Write, text: str, where: str) -> None:
    write("settings.yaml", text)
    (problem,) = load_folder(site).problems
    assert problem.where == f"include/settings.yaml:{where}"


@pytest.mark.parametrize("value", ["${INBOX}", "${INBOX}/post", "https://${INBOX}/post"])
def test_a_setting_is_not_read_from_the_environment_and_says_so(site: Path, write: Write, value: str) -> None:
    write("settings.yaml", f"finance:\n  inbox: {value}\n")
    write("automations/a.yaml", GOOD.format(name="a") + f"settings: {{own: [{value!r}]}}\n")
    for path, where in (("include/settings.yaml", "2:10"), ("include/automations/a.yaml", "4:18")):
        [problem] = load_folder(site).problems
        assert problem.where == f"{path}:{where}"
        assert "INBOX" in problem.message
        assert problem.message.endswith("is text: nothing is read from the environment")
        assert "MUSTER_ENVIRONMENT" in str(problem.suggestion)
        write("settings.yaml", "finance: {inbox: post}\n")


def test_a_command_or_an_amount_in_a_setting_is_left_alone(site: Path, write: Write) -> None:
    write("settings.yaml", "own: $HOME\ncommand: echo ${HOME} $PATH\nprice: 5 $\npattern: ^a$\n")
    write("automations/a.yaml", GOOD.format(name="a"))
    assert load_folder(site).problems == []


def test_mistakes_in_agent_files_are_located_and_leave_the_other_agents(site: Path, write: Write) -> None:
    write("agents/zoo.yaml", "department: zoo\nagents: [{id: keeper, role: x, tool: [a.b]}]\n")
    write("agents/more.yaml", "department: more\nagents: [{id: helper, role: x, tools: [office.raed_letter]}]\n")
    write("agents/twice.yaml", "department: more\nagents:\n  - {id: clerk, role: x}\n")
    write("automations/a.yaml", "automation: a\nsteps: [{id: b, agent: clerk, ask: x}]\n")
    catalogue = load_folder(site)
    assert list(catalogue.definitions) == ["a"]
    assert [(p.where, p.message) for p in catalogue.problems] == [
        ("include/agents/more.yaml:2:40", "there is no skill `office.raed_letter`"),
        (
            "include/agents/twice.yaml:3:10",
            "there are two agents `clerk`; the other is at include/agents/office.yaml:4:9",
        ),
        ("include/agents/zoo.yaml:2:32", "unknown key `tool`"),
    ]  # fmt: skip


def test_a_skill_in_a_file_that_cannot_be_read_is_missed_with_the_place_in_that_file(site: Path, write: Write) -> None:
    write("skills/bad.py", '@skill("office.seal"\ndef seal(): ...\n')
    write("agents/more.yaml", "department: more\nagents: [{id: helper, role: x, tools: [office.seal]}]\n")
    write("automations/a.yaml", "automation: a\nsteps: [{id: b, skill: office.seal}]\n")
    said = f"{site / 'skills' / 'bad.py'}:1 names it, and cannot be read: '(' was never closed."
    problems = load_folder(site).problems
    assert [(problem.message, problem.suggestion) for problem in problems] == 2 * [
        ("there is no skill `office.seal`", said)
    ]


def test_only_finds_one_automation_by_its_file_or_by_what_files_declare(site: Path, write: Write) -> None:
    write("automations/x/one.yaml", GOOD.format(name="one"))
    write("automations/two.yaml", GOOD.format(name="renamed"))
    write("automations/three.yaml", "automation: three\nsteps: 3\n")
    assert list(load_folder(site, only="one").definitions) == ["one"]
    assert list(load_folder(site, only="renamed").definitions) == ["renamed"]
    assert load_folder(site, only="two").definitions == {}
    broken = load_folder(site, only="three")
    assert broken.definitions == {}
    assert [problem.where for problem in broken.problems] == ["include/automations/three.yaml:2:8"]


def test_one_automation_among_many_is_found_without_reading_the_others(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        (site / "automations" / f"a_{number}.yaml").write_text(GOOD.format(name=f"a_{number}"))
    everything = load_folder(site)
    opened: list[str] = []
    open_file, read_bytes = Path.open, Path.read_bytes
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: opened.append(path.name) or open_file(path, *a, **k))
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or read_bytes(path))
    one = load_folder(site, only="a_99")
    assert one.definitions == {"a_99": everything.definitions["a_99"]}
    assert {name for name in opened if name.startswith("a_")} == {"a_99.yaml"}
    assert len(everything.definitions) == 200
