"""Words of the tests of commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import Result

Muster = Callable[..., Result]
"""Runs `muster` with these arguments."""


def read(result: Result) -> Any:
    """What a command printed for machines: one JSON value on standard output and nothing else."""
    return json.loads(result.stdout)


def imported_by(arguments: list[str], *, project: Path, dsn: str, exit_code: int = 0) -> set[str]:
    """The modules that a process of its own holds after a command that ended so."""
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom muster.cli.app import app\n"
        f"done = CliRunner().invoke(app, {arguments})\n"
        f"assert done.exit_code == {exit_code}, done.output\n"
        "print(*sys.modules)"
    )
    environment = os.environ | {"MUSTER_DSN": dsn}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=project, env=environment
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())
