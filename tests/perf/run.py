"""Runs the benchmarks one after the other and prints what they found as one table.

`python tests/perf/run.py` runs them all, `python tests/perf/run.py lanes pack` those named. They measure
and compare; none fails because a machine is slow.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import KEPT_IN, Figure, kept
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ORDER = (
    "generation",
    "invoices",
    "events",
    "verified",
    "replay",
    "recovery",
    "messages",
    "blackboard",
    "restart",
    "rehearsal",
    "fanout",
    "pack",
    "lanes",
    "hops",
    "teams",
    "conflicts",
)


def main(names: list[str]) -> int:
    """Run the benchmarks named; how many could not be run."""
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"There is no benchmark {unknown[0]!r}; there are {', '.join(known)}.")
    chosen = names or sorted(known, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    broken = 0
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        file = Path(folder) / "figures.jsonl"
        for name in chosen:
            broken += _run(name, file)
        _print(kept(file))
    return broken


def _run(name: str, file: Path) -> bool:
    """Run one benchmark in a process of its own; true when it could not be finished."""
    started = time.monotonic()
    print(f"\n== {name} (load average {os.getloadavg()[0]:.1f})", flush=True)
    # As where Muster runs: modules are compiled once, not in every process.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, str(HERE / f"bench_{name}.py")], env={**env, KEPT_IN: str(file)}, check=False
    )
    print(f"== {name}: {time.monotonic() - started:.0f} s (load average {os.getloadavg()[0]:.1f})", flush=True)
    if done.returncode:
        print(f"== {name} could not be finished (exit code {done.returncode})", flush=True)
    return bool(done.returncode)


def _print(figures: list[Figure]) -> None:
    table = Table("measured", "this project", "compared with", "ratio", "target", "")
    for it in figures:
        table.add_row(it.what, it.measured, it.compared, it.ratio, it.target, it.verdict)
    console = Console()
    console.width = max(console.width, 160)
    console.print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
