"""Teams: `python tests/perf/bench_teams.py`.

Eight members on 200 tasks of 5 s in five layers, each task after two of the layer before it, in one event loop as in a
triggerer: from the first task's beginning to the last one's end, against the bound max(layers, tasks / members) x 5 s,
and the CPU time that a task costs the process. Then a chain of tasks that go to and fro between two agents: from the
end of one to the beginning of the next. And a plan of 500 tasks, read and looked at for mistakes.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import Figure, note
from servers import fresh_database, postgres

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.coordination.plans import Plan
from muster.database import Database
from muster.events.model import Event, EventType
from muster.execution.performing import perform
from support.runs import Site

MEMBERS, TASKS, LAYERS, SECONDS = 8, 200, 5, 5.0
CHAIN, PLANNED = 20, 500
AGENTS = """department: bench
agents:
  - { id: left, role: Works., skills: [work, left], offline: bench.nap }
  - { id: right, role: Works., skills: [work, right], offline: bench.nap }
"""
SKILL = '''import asyncio
from muster.skills import skill

@skill("bench.nap", lane="async")
async def nap(seconds: float) -> float:
    """Take a while."""
    await asyncio.sleep(seconds)
    return seconds
'''
SOURCE = """automation: bench_team
inputs: {{ plan: {{ type: array }} }}
steps:
  - id: work
    team: {{ plan: "{{{{ inputs.plan }}}}", size: {size} }}
"""


def main() -> None:
    """Measure all of it and print the figures."""
    with postgres() as server, tempfile.TemporaryDirectory(prefix="muster-bench-", dir="/tmp") as folder:
        for number, measure in enumerate((_layers, _chain)):
            site = Site(Path(folder) / str(number), Database(fresh_database(server, f"teams_{number}")))
            site.agents(AGENTS)
            site.skills("bench", SKILL)
            measure(site)
    _validation()


def _layers(site: Site) -> None:
    wide = TASKS // LAYERS

    def before(number: int) -> list[str]:
        layer, place = divmod(number, wide)
        return [f"t{(layer - 1) * wide + other % wide}" for other in (place, place + 1)] if layer else []

    plan = [_task(f"t{number}", SECONDS, needs=["work"], after=before(number)) for number in range(TASKS)]
    cpu = time.process_time()
    events = _played(site, plan, MEMBERS)
    cpu = time.process_time() - cpu
    took = (events[-1].at - events[0].at).total_seconds()
    bound = max(LAYERS, TASKS / MEMBERS) * SECONDS
    note(
        Figure(
            what=f"{MEMBERS} members on {TASKS} tasks of {SECONDS:g} s in {LAYERS} layers",
            measured=f"{took:.1f} s",
            compared=f"the bound {bound:.0f} s",
            ratio=f"{took / bound:.2f}x",
            target="1.3x",
            met=took <= 1.3 * bound,
        )
    )
    note(Figure(what="CPU time a task", measured=f"{cpu / TASKS:.3f} s", target="0.1 s", met=cpu / TASKS <= 0.1))


def _chain(site: Site) -> None:
    plan = [
        _task(f"t{n}", 0.05, needs=["right" if n % 2 else "left"], after=[f"t{n - 1}"] if n else [])
        for n in range(CHAIN)
    ]
    events = _played(site, plan, 2)
    hops = [
        (then.at - ended.at).total_seconds()
        for ended, then in zip(events[1::2], events[2::2], strict=False)
        if (ended.type, then.type) == (EventType.STEP_SUCCEEDED, EventType.STEP_STARTED)
    ]
    assert len(hops) == CHAIN - 1
    hop = statistics.median(hops)
    note(
        Figure(
            what="from the end of one agent's task to the beginning of the next agent's",
            measured=f"{hop * 1000:.0f} ms (at most {max(hops) * 1000:.0f} ms)",
            target="300 ms",
            met=hop <= 0.3,
        )
    )


def _validation() -> None:
    tasks = [_task(f"t{n}", 1, needs=[], after=[f"t{m}" for m in range(max(0, n - 5), n)]) for n in range(PLANNED)]
    began = time.perf_counter()
    assert Plan.of(tasks).remaining
    took = time.perf_counter() - began
    note(
        Figure(
            what=f"a plan of {PLANNED} tasks read and checked",
            measured=f"{took:.3f} s",
            target="0.5 s",
            met=took <= 0.5,
        )
    )


def _task(name: str, seconds: float, **more: Any) -> dict[str, Any]:
    return {"id": name, "ask": "Work.", "with": {"seconds": seconds}, **more}


def _played(site: Site, plan: list[dict[str, Any]], size: int) -> list[Event]:
    """The beginnings and endings of a plan's tasks, all members in one loop."""
    run = site.open(site.definition(SOURCE.format(size=size)), plan=plan)
    refs = site.tasks(run, "work")
    assert len(refs) == size

    async def members() -> None:
        async with asyncio.TaskGroup() as group:
            for ref in refs:
                group.create_task(perform(site.services, ref))

    site.do(members())
    events = list(site.services.log.read(run, types=[EventType.STEP_STARTED, EventType.STEP_SUCCEEDED]))
    assert len(events) == 2 * len(plan)
    return events


if __name__ == "__main__":
    main()
