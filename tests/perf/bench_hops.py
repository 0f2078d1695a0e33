"""The seconds of Airflow's between two steps, on the real stack: `python tests/perf/bench_hops.py`.

- A chain of ten skills in the `async` lane, each of which takes 100 ms: from when the first one begins to when the last
  one has had its effect. The same chain in a pool, where each step waits until Airflow comes to its task.
- A list of 200 items of 3 s with `pack: auto`: from the beginning of the run to that of the first item, and to the end
  of the run. The same list with a task for each item.
- A question: from when a person's answer is sent to when its task has ended, and to when the step after it begins.

Times are those of the log; when a task ended is asked of Airflow's API every tenth of a second.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from figures import Figure, note

from muster.events.model import Event, EventType
from muster.local.stack import Stack

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.airflow import Airflow

ROOT = Path(__file__).parents[2]
ROUNDS = 3
STEPS, ITEMS = 10, 200
CHAIN, FIRST, CLOSED, ANSWERED = 3.0, 3.0, 12.0, 2.0
"""The targets, in seconds."""

SKILL = '''"""What the steps do."""
import asyncio
from muster.skills import skill

@skill("bench.nap", lane="async")
async def nap(seconds: float) -> float:
    """Take a while."""
    await asyncio.sleep(seconds)
    return seconds
'''
LIST = """automation: {name}
steps:
  - id: nap
    each: "{{{{ range({items}) | list }}}}"
    skill: bench.nap
    with: {{seconds: 3.0}}
    pack: {pack}
"""
QUESTION = """automation: bench_question
steps:
  - {id: ask, human: {ask: Go on?, assignees: [finance-lead], within: 1h}}
  - {id: nap, skill: bench.nap, with: {seconds: 0.1}}
"""


def main() -> None:
    """Start the stack, run all of them, print the figures."""
    with _stack() as airflow:
        airflow.automation("bench_chain", _chain("bench_chain", ""))
        airflow.automation("bench_one_by_one", _chain("bench_one_by_one", ", pool: default_pool"))
        for pack in ("auto", "1"):
            airflow.automation(f"bench_list_{pack}", LIST.format(name=f"bench_list_{pack}", items=ITEMS, pack=pack))
        airflow.automation("bench_question", QUESTION)
        # The first run of a fresh stack waits for what is imported then: that is not what is measured.
        _run(airflow, "bench_chain", "warm")
        _measure_chain(airflow)
        _measure_list(airflow)
        _measure_question(airflow)


def _chain(name: str, more: str) -> str:
    steps = "".join(
        f"  - {{id: s{number}, skill: bench.nap, with: {{seconds: 0.1}}{more}}}\n" for number in range(STEPS)
    )
    return f"automation: {name}\nsteps:\n{steps}"


def _measure_chain(airflow: Airflow) -> None:
    def effects(dag_id: str, run_id: str) -> tuple[float, float]:
        events = _run(airflow, dag_id, run_id)
        began = _first(events, EventType.STEP_STARTED)
        effect = [event for event in events if event.type == EventType.STEP_SUCCEEDED][-1]
        return _between(began, effect), _between(began, events[-1])

    effect, closed = _medians([effects("bench_chain", f"round{number}") for number in range(ROUNDS)])
    other = effects("bench_one_by_one", "measured")
    note(
        Figure(
            what=f"{STEPS} `async` steps of 100 ms, from the first one's beginning to the last effect",
            measured=f"{effect:.1f} s (the run closed after {closed:.1f} s)",
            compared=f"in a pool {other[0]:.1f} s ({other[1]:.1f} s)",
            ratio=f"{other[0] / effect:.1f}x faster",
            target=f"{CHAIN:g} s",
            met=effect <= CHAIN,
        )
    )


def _measure_list(airflow: Airflow) -> None:
    def times(dag_id: str, run_id: str) -> tuple[float, float]:
        events = _run(airflow, dag_id, run_id)
        return _between(events[0], _first(events, EventType.STEP_STARTED)), _between(events[0], events[-1])

    first, closed = _medians([times("bench_list_auto", f"round{number}") for number in range(ROUNDS)])
    other = times("bench_list_1", "measured")
    note(
        Figure(
            what=f"{ITEMS} `async` items of 3 s with `pack: auto`, from the beginning of the run to the first item's",
            measured=f"{first:.1f} s (the run closed after {closed:.1f} s)",
            compared=f"a task for each {other[0]:.1f} s ({other[1]:.1f} s)",
            ratio=f"closed {other[1] / closed:.1f}x sooner",
            target=f"{FIRST:g} s ({CLOSED:g} s)",
            met=first <= FIRST and closed <= CLOSED,
        )
    )


def _measure_question(airflow: Airflow) -> None:
    def answered(run_id: str) -> tuple[float, float]:
        run = airflow.start("bench_question", run_id)
        (question,) = airflow.waiting(run, "ask")
        # So that the process which put the question has ended, as it has where a person answers.
        time.sleep(6)
        sent, task = time.time(), question["task_instance"]
        airflow.stack.client("finance-lead").answer(task, "Approve")
        while (
            next(t["state"] for t in airflow.client.tasks("bench_question", run_id) if t["task_id"] == "ask")
            != "success"
        ):
            time.sleep(0.1)
        ended = time.time()
        began = _first(_finished(airflow, run), EventType.STEP_STARTED, "nap")
        return ended - sent, began.at.timestamp() - sent

    ended, began = _medians([answered(f"round{number}") for number in range(ROUNDS)])
    note(
        Figure(
            what="a person's answer, from when it is sent to the end of its task",
            measured=f"{ended:.1f} s (the step after it begins after {began:.1f} s)",
            target=f"{ANSWERED:g} s",
            met=ended <= ANSWERED,
        )
    )


def _run(airflow: Airflow, dag_id: str, run_id: str) -> list[Event]:
    return _finished(airflow, airflow.start(dag_id, run_id))


def _finished(airflow: Airflow, run: str) -> list[Event]:
    """The log of a run once it has come through."""
    if airflow.finish(run) != "success":
        sys.exit(f"{run} failed: see the logs")
    return list(airflow.log.read(run))


def _first(events: list[Event], type: EventType, step: str | None = None) -> Event:
    return next(event for event in events if event.type == type and step in (None, event.step))


def _between(first: Event, last: Event) -> float:
    return (last.at - first.at).total_seconds()


def _medians(rounds: list[tuple[float, float]]) -> tuple[float, float]:
    print(rounds, flush=True)
    first, last = (statistics.median(values) for values in zip(*rounds, strict=True))
    return first, last


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
