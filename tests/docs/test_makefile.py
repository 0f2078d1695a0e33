"""The Makefile installs with uv, and with pip where uv cannot be had or fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from support.documents import ROOT


def _program(path: Path, name: str, code: int) -> None:
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> "$PWD/done"\nexit {code}\n')
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("uv", "by"), [(0, ["uv", "uv"]), (1, ["uv", "python", "python"]), (None, ["python", "python"])]
)
def test_pip_installs_where_uv_cannot_be_had_or_fails(tmp_path: Path, uv: int | None, by: list[str]) -> None:
    folder = tmp_path / "my muster"
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements.txt", "pyproject.toml", ".venv/.uv"):
        (folder / name).touch()
    _program(folder / ".venv/bin/python", "python", 0)
    if uv is not None:
        _program(folder / ".venv/bin/uv", "uv", uv)
    made = subprocess.run(["make", ".venv/.runtime"], cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert [line.split()[0] for line in (folder / "done").read_text().splitlines()] == by
    assert ("uv cannot install it here" in made.stderr) == (uv == 1)
