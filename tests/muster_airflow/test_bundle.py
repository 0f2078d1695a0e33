"""Promises of versions: content-addressed, immutable, and never worse than the last valid one."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster_airflow.bundle import Publisher

GOOD = "automation: {name}\nsteps:\n  - {{id: tell, notify: [{{slack: '#ops', text: '{text}'}}]}}\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "include"
    (folder / "automations").mkdir(parents=True)
    write(folder, "one", "first")
    write(folder, "two", "first")
    return folder


def write(source: Path, name: str, text: str) -> None:
    (source / "automations" / f"{name}.yaml").write_text(GOOD.format(name=name, text=text))


def test_the_same_content_is_the_same_version_wherever_it_lies(source: Path, tmp_path: Path) -> None:
    first = Publisher(source, tmp_path / "a").publish(None)
    assert Publisher(source, tmp_path / "b").publish(None) == first
    assert (tmp_path / "a" / first / "include" / "automations" / "one.yaml").is_file()


def test_an_edit_makes_a_new_version_and_leaves_the_old_one(source: Path, tmp_path: Path) -> None:
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    write(source, "one", "second")
    second = publisher.publish(first)
    assert first != second
    old = tmp_path / "store" / first / "include" / "automations" / "one.yaml"
    assert "first" in old.read_text()


def test_nothing_is_copied_while_nothing_changes(source: Path, tmp_path: Path) -> None:
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    entries = sorted((tmp_path / "store").iterdir())
    assert publisher.publish(first) == first
    assert sorted((tmp_path / "store").iterdir()) == entries


def test_an_invalid_file_keeps_its_last_valid_content_and_hides_no_other(source: Path, tmp_path: Path) -> None:
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    (source / "automations" / "one.yaml").write_text("automation: one\nsteps: 7\n")
    write(source, "two", "second")
    version = tmp_path / "store" / publisher.publish(first)
    assert "first" in (version / "include" / "automations" / "one.yaml").read_text()
    assert "second" in (version / "include" / "automations" / "two.yaml").read_text()
    (error,) = version.glob("dags/invalid__*.py")
    assert "one.yaml:2" in error.read_text()


def test_a_file_that_was_never_valid_is_left_out_and_named(source: Path, tmp_path: Path) -> None:
    (source / "automations" / "three.yaml").write_text("automation: three\n")
    version = tmp_path / "store" / Publisher(source, tmp_path / "store").publish(None)
    assert not (version / "include" / "automations" / "three.yaml").exists()
    assert [path.name for path in version.glob("dags/invalid__*.py")] == ["invalid__automations__three.py"]


def test_a_broken_agents_file_does_not_take_its_automations_down(source: Path, tmp_path: Path) -> None:
    (source / "agents").mkdir()
    agents = source / "agents" / "ops.yaml"
    agents.write_text("department: ops\nagents:\n  - {id: clerk, role: A clerk.}\n")
    (source / "automations" / "asks.yaml").write_text(
        "automation: asks\nsteps:\n  - {id: ask, agent: clerk, ask: 'What now?'}\n"
    )
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    agents.write_text("department: ops\nagents:\n  - {id: other, role: Another.}\n")
    version = tmp_path / "store" / publisher.publish(first)
    assert "clerk" in (version / "include" / "agents" / "ops.yaml").read_text()
    assert list(version.glob("dags/invalid__*.py"))
