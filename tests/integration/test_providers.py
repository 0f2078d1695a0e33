"""The promise of the guide to operating: a provider that is named and locked as it says can be used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import ROOT, blocks

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # What a `make test` was given is not for a `make` in it.
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    given = {**others, "PATH": path, **environment}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=given)


def test_a_provider_that_is_named_and_locked_is_one_that_lint_takes(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    [named] = re.findall(r'^ *("apache-airflow-providers-.*",)$', page, re.MULTILINE)
    for path in [*ROOT.glob("requirements*.txt"), ROOT / "Makefile", ROOT / "README.md", ROOT / "LICENSE"]:
        shutil.copy(path, tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(project.replace("dependencies = [\n", f"dependencies = [\n  {named}\n", 1))

    done = run(tmp_path, "make", "lock")
    assert done.returncode == 0, done.stderr
    before = set(re.findall(r"^\S+==\S+", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    after = set(re.findall(r"^\S+==\S+", (tmp_path / "requirements.txt").read_text(), re.MULTILINE))
    assert before < after, "what was locked stays as it was"
    [provider] = [locked for locked in after - before if locked.startswith("apache-airflow-providers-")]

    automations = tmp_path / "include" / "automations"
    automations.mkdir(parents=True)
    [text] = [block.text for block in blocks("yaml", mark="provider")]
    (automations / "fetch_rates.yaml").write_text(text)
    site = tmp_path / "site"
    lint = ("muster", "lint")
    assert run(tmp_path, *lint, MUSTER_PROJECT=str(tmp_path)).returncode == 1
    run(tmp_path, sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--target", str(site), provider)
    done = run(tmp_path, *lint, MUSTER_PROJECT=str(tmp_path), PYTHONPATH=str(site))
    assert done.returncode == 0, done.stdout + done.stderr
