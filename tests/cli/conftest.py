"""A project of its own for each test of a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from muster.cli.app import app
from support.command import Muster


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an empty project, which is the working directory."""
    root = tmp_path / "a project"
    (root / "include" / "automations").mkdir(parents=True)
    for name in ("MUSTER_PROJECT", "MUSTER_STATE", "MUSTER_DSN", "MUSTER_PORT", "DATABASE_URL", "AIRFLOW_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def muster(project: Path) -> Muster:
    """Runs a command in the project."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments))

    return invoke
