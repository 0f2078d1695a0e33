"""A chain of small steps, on the real stack: `python tests/perf/bench_chain.py`.

An automation of ten skills in the `async` lane, each of which takes 100 ms and says at its end, in a table, when that
was. Timed is from when the first one begins to when the last one has had its effect, both by the log and the table.
In the same run the same chain is performed in a pool, where each step waits until Airflow comes to its task.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figures import Figure, note

from muster.events.model import EventType
from muster.local.stack import Stack

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.airflow import Airflow

ROOT = Path(__file__).parents[2]
STEPS, SECONDS, ROUNDS = 10, 0.1, 3
MOST = 3.0
"""The target, in seconds."""

SKILL = f'''"""What the chain does."""
import asyncio
from muster.skills import skill

@skill("bench.nap", lane="async")
async def nap(name: str) -> str:
    """Take a while."""
    await asyncio.sleep({SECONDS})
    return name
'''


def _automation(name: str, more: str) -> str:
    steps = "".join(f"  - {{id: s{number}, skill: bench.nap, with: {{name: x}}{more}}}\n" for number in range(STEPS))
    return f"automation: {name}\nsteps:\n{steps}"


def main() -> None:
    """Start the stack, run both, print the figures."""
    with _stack() as airflow:
        airflow.automation("bench_chain", _automation("bench_chain", ""))
        airflow.automation("bench_one_by_one", _automation("bench_one_by_one", ", pool: default_pool"))
        # The triggerer imports what skills need when the first one comes: that is not what is measured.
        _measure(airflow, "bench_chain", "warm")
        own = [_measure(airflow, "bench_chain", f"round{number}") for number in range(ROUNDS)]
        other = _measure(airflow, "bench_one_by_one", "measured")
    effect, closed = (statistics.median(values) for values in zip(*own, strict=True))
    note(
        Figure(
            what=f"{STEPS} `async` steps of {SECONDS * 1000:.0f} ms, from the first one's beginning to the last effect",
            measured=f"{effect:.1f} s (the run closed after {closed:.1f} s)",
            compared=f"in a pool {other[0]:.1f} s ({other[1]:.1f} s)",
            ratio=f"{other[0] / effect:.1f}x faster",
            target=f"{MOST:g} s",
            met=effect <= MOST,
        )
    )


def _measure(airflow: Airflow, dag_id: str, run_id: str) -> tuple[float, float]:
    """Seconds from the beginning of the first step to the last effect, and to the end of the run."""
    run = airflow.start(dag_id, run_id)
    if airflow.finish(run) != "success":
        sys.exit(f"{run} failed: see the logs")
    events = list(airflow.log.read(run))
    began = next(event.at for event in events if event.type == EventType.STEP_STARTED)
    effect = [event.at for event in events if event.type == EventType.STEP_SUCCEEDED][-1]
    taken = (effect - began).total_seconds(), (events[-1].at - began).total_seconds()
    print(f"{run}: last effect after {taken[0]:.2f} s, closed after {taken[1]:.2f} s", flush=True)
    return taken


@contextmanager
def _stack() -> Iterator[Airflow]:
    """The stack on a copy of this project with no automations but these."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir="/tmp") as name:
        project = Path(name) / "project"
        Path(name).chmod(0o755)
        for part in ("dags", "plugins"):
            shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("automations", "agents", "skills"):
            (project / "include" / part).mkdir(parents=True)
        (project / "include" / "skills" / "bench.py").write_text(SKILL)
        with Stack(project) as stack:
            yield Airflow(stack)


if __name__ == "__main__":
    main()
