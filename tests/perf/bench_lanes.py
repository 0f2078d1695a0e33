"""Agents waiting for a model, on the real stack: `python tests/perf/bench_lanes.py` prints ratios of one run.

An automation fans out to 200 agent steps, each of which asks a scripted model server that answers after 5 s.
In the same run of the same stack the common-ai provider's AgentOperator asks the same server 24 times as
mapped ordinary tasks, on LocalExecutor with parallelism 8. Wall time is from the first task put to wait (or
started) to the last one ended, by Airflow's own record. CPU time is that of every process of the stack,
PostgreSQL and children included, from the trigger of the run to its end, so the first and last task of the
run and what the stack spends on itself are in it; the model server's is not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
from figures import Figure, note

from muster.local.airflow import bundle
from muster.local.project import Project
from muster.local.stack import Stack

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.airflow import Airflow

ROOT = Path(__file__).parents[2]
STEPS, CALLS, DELAY = 200, 24, 5.0
WALL, CPU = 5.0, 0.25
"""The targets: times the wait, and CPU seconds a step."""

STATE = "SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s"
TIMES = """SELECT min(start_date), max(end_date), count(*) FROM task_instance
WHERE dag_id = %s AND run_id = %s AND task_id = 'ask'"""
AGENTS = """department: bench
agents:
  - { id: asker, role: You answer., tiers: [bench_model] }
"""
AUTOMATION = """automation: bench_lanes
inputs:
  questions: { type: array, items: { type: integer }, default: [] }
steps:
  - id: ask
    each: "{{ inputs.questions }}"
    agent: asker
    ask: "Question {{ item }}"
"""
COMPARED = f"""from airflow.providers.common.ai.operators.agent import AgentOperator
from airflow.sdk import DAG

with DAG("bench_operator", schedule=None, max_active_tasks=64):
    AgentOperator.partial(task_id="ask", llm_conn_id="bench_model").expand(
        prompt=[f"Question {{number}}" for number in range({CALLS})]
    )
"""


@dataclass(frozen=True)
class Measured:
    """What one run took."""

    wall: float
    cpu: float
    tasks: int


def main() -> None:
    """Start the stack, run both ways, print the ratios."""
    with _model_server() as url, _stack(url) as airflow:
        airflow.automation("bench_lanes", AUTOMATION)
        airflow.until("the Dag bench_operator", lambda: airflow.client.dag("bench_operator"))
        time.sleep(10)  # what the start left to do
        idle = _cpu(airflow.stack)
        time.sleep(10)
        print(f"the stack at rest uses {_since(idle, airflow.stack)[0] / 10:.2f} CPU-s a second", flush=True)
        # The triggerer imports what agents need when the first one comes: that is not what is measured.
        _measure(airflow, "bench_lanes", "warm", questions=[0, 1])
        own = _measure(airflow, "bench_lanes", "measured", questions=list(range(STEPS)))
        other = _measure(airflow, "bench_operator", "measured")
    _print(own, other)


def _print(own: Measured, other: Measured) -> None:
    scaled = other.wall / other.tasks * own.tasks
    note(
        Figure(
            what=f"{own.tasks} agent steps that wait {DELAY:g} s, wall time",
            measured=f"{own.wall:.1f} s",
            compared=f"AgentOperator, {other.tasks} in {other.wall:.0f} s: {scaled:.0f} s for {own.tasks}",
            ratio=f"{own.wall / DELAY:.1f}x the wait, {scaled / own.wall:.0f}x faster",
            target=f"{WALL:g}x the wait",
            met=own.wall <= WALL * DELAY,
        )
    )
    mine, theirs = own.cpu / own.tasks, other.cpu / other.tasks
    note(
        Figure(
            what="CPU time a step",
            measured=f"{mine:.3f} CPU-s",
            compared=f"AgentOperator {theirs:.2f} CPU-s",
            ratio=f"{theirs / mine:.0f}x less",
            target=f"{CPU} CPU-s",
            met=mine <= CPU,
        )
    )


def _measure(airflow: Airflow, dag_id: str, run_id: str, **inputs: Any) -> Measured:
    """Run a Dag to its end; what its task `ask` and the stack took for it."""
    before = _cpu(airflow.stack)
    airflow.start(dag_id, run_id, **inputs)
    # Airflow's database is asked, not its API, which would be work of the stack's own.
    with psycopg.connect(airflow.stack.environment["BENCH_AIRFLOW_DSN"], autocommit=True) as link:
        while (state := _one(link, STATE, dag_id, run_id)[0]) not in ("success", "failed"):
            time.sleep(0.5)
        cpu, parts = _since(before, airflow.stack)
        if state != "success":
            sys.exit(f"{dag_id}/{run_id} ended as {state}: see the logs")
        first, last, count = _one(link, TIMES, dag_id, run_id)
    wall = (last - first).total_seconds()
    print(f"{dag_id}/{run_id}: {count} tasks, {wall:.1f} s, {cpu:.1f} CPU-s: {parts}", flush=True)
    return Measured(wall, cpu, count)


def _one(link: psycopg.Connection[Any], statement: LiteralString, *parameters: str) -> tuple[Any, ...]:
    row = link.execute(statement, parameters).fetchone()
    assert row is not None
    return tuple(row)


def _cpu(stack: Stack) -> dict[str, float]:
    """CPU seconds of each of the stack's processes so far, ended children included."""
    used = {}
    for name, state in stack.supervisor.components.items():
        used[name] = 0.0
        if state.process.pid is not None:
            top = psutil.Process(state.process.pid)
            for process in [top, *top.children(recursive=True)]:
                try:
                    used[name] += sum(process.cpu_times()[:4])
                except psutil.NoSuchProcess:
                    continue  # it ended: its parent counts it now
    return used


def _since(before: dict[str, float], stack: Stack) -> tuple[float, str]:
    """CPU seconds used since, in all and by process."""
    parts = {name: used - before[name] for name, used in _cpu(stack).items()}
    return sum(parts.values()), ", ".join(f"{name} {used:.1f}" for name, used in parts.items())


@contextmanager
def _model_server() -> Iterator[str]:
    command = [sys.executable, str(ROOT / "tests" / "support" / "model_server.py"), "--delay", str(DELAY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def _stack(url: str) -> Iterator[Airflow]:
    """The stack on a copy of this project, with the operator's Dag beside the automations."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        project, compared = folder / "project", folder / "compared"
        for part in ("dags", "plugins"):
            shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("automations", "agents", "skills"):
            (project / "include" / part).mkdir(parents=True)
        (project / "include" / "agents" / "bench.yaml").write_text(AGENTS)
        compared.mkdir()
        (compared / "compared_with.py").write_text(COMPARED)
        stack = Stack(project, variables=_variables(project, compared, url))
        with stack:
            stack.environment["BENCH_AIRFLOW_DSN"] = stack._prepared.airflow
            yield Airflow(stack)


def _variables(project: Path, compared: Path, url: str) -> dict[str, str]:
    own = bundle(Project(project, project / ".muster"))
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    other = {"name": "compared", "classpath": local, "kwargs": {"path": str(compared)}}
    model = {"conn_type": "pydanticai", "host": url, "password": "any", "extra": {"model": "openai-chat:bench"}}
    return {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([own, other]),
        "AIRFLOW__CORE__PARALLELISM": "8",
        # Eight processes that import the operator at once can take longer than the usual minute.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "600",
        "AIRFLOW_CONN_BENCH_MODEL": json.dumps(model),
    }


if __name__ == "__main__":
    main()
