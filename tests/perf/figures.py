"""What a benchmark found: printed at once, and kept for the table that `run.py` prints at the end."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

KEPT_IN = "MUSTER_BENCH_FIGURES"
"""The environment variable that names the file the figures of one `make bench` are kept in."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table."""

    what: str
    measured: str
    compared: str = ""
    """The same by what it is compared with, measured in the same run."""
    ratio: str = ""
    target: str = ""
    met: bool | None = None
    """None where there is no target."""

    @property
    def verdict(self) -> str:
        """`met`, `missed` or nothing."""
        return {True: "met", False: "missed", None: ""}[self.met]


def note(figure: Figure) -> None:
    """Print a figure and keep it."""
    said = [figure.measured, figure.compared and f"against {figure.compared}", figure.ratio]
    said += [figure.target and f"target {figure.target}: {figure.verdict}"]
    print(f"{figure.what}: {'; '.join(filter(None, said))}", flush=True)
    if path := os.environ.get(KEPT_IN):
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(figure)) + "\n")


def kept(path: Path) -> list[Figure]:
    """The figures kept in a file."""
    return [Figure(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
