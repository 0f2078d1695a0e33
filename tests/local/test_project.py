"""A project is found from anywhere inside it; its state is closed to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.errors import MusterError
from muster.local.project import find_project


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MUSTER_PROJECT", raising=False)
    monkeypatch.delenv("MUSTER_STATE", raising=False)
    root = tmp_path / "a project"
    (root / "include" / "automations" / "sales").mkdir(parents=True)
    return root


def test_it_is_found_from_a_folder_below(root: Path) -> None:
    assert find_project(root / "include" / "automations" / "sales").root == root


def test_the_environment_may_name_it_and_its_state(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_PROJECT", str(root))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path / "elsewhere"))
    project = find_project(tmp_path)
    assert (project.root, project.state) == (root, tmp_path / "elsewhere")


def test_outside_of_one_the_remedy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSTER_PROJECT", raising=False)
    with pytest.raises(MusterError, match="MUSTER_PROJECT"):
        find_project(tmp_path)


def test_the_state_folder_is_closed_even_when_it_was_open(root: Path) -> None:
    project = find_project(root)
    project.state.mkdir(mode=0o777)
    project.make_state()
    assert project.state.stat().st_mode & 0o777 == 0o700


def test_a_state_folder_that_cannot_be_made_is_an_error_with_a_remedy(root: Path) -> None:
    project = find_project(root)
    project.state.write_text("in the way")
    with pytest.raises(MusterError, match="MUSTER_STATE"):
        project.make_state()
