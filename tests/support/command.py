"""Words of the tests of commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from typer.testing import Result

Muster = Callable[..., Result]
"""Runs `muster` with these arguments."""


def read(result: Result) -> Any:
    """What a command printed for machines: one JSON value on standard output and nothing else."""
    return json.loads(result.stdout)
