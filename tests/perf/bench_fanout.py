"""Mapped fan-outs of 1,000 to 4,000 items: `python tests/perf/bench_fanout.py` prints what an item costs, and the rest.

Each item is a task instance of its own in one event loop, as in a triggerer, and all begin together: the process knows
nothing of the run yet. Each size has a process and a database of its own. A second task of the same loop wakes every
5 ms and measures how much CPU time the loop's thread has used meanwhile: so long nothing else was done there. Memory
is the peak of the process.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from servers import fresh_database, postgres

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

SIZES, AT_ONCE, TICK = (1_000, 2_000, 4_000), 300, 0.005
_numbers = itertools.count(1)
AUTOMATION = """automation: bench_fanout
inputs: { names: { type: array, items: { type: string }, default: [] } }
steps:
  - { id: list, skill: bench.list, with: { names: "{{ inputs.names }}" } }
  - { id: read, each: "{{ steps.list }}", pack: all, skill: bench.read, with: { name: "{{ item }}" } }
  - { id: post, each: "{{ steps.read }}", skill: bench.read, with: { name: "{{ item.name }}" } }
"""
SKILLS = '''
from pydantic import BaseModel

from muster.skills import skill

class Letter(BaseModel):
    name: str

@skill("bench.list", lane="async")
async def list_(names: list[str]) -> list[str]:
    """The names."""
    return names

@skill("bench.read", lane="async")
async def read(name: str) -> Letter:
    """Reads one."""
    return Letter(name=name)
'''


def main() -> None:
    """Measure each size, print the ratios."""
    from figures import Figure, note

    with postgres() as server:
        found = {size: _in_process(fresh_database(server, f"bench_{next(_numbers)}"), size) for size in SIZES}
    least, *_, most = SIZES
    costs = {size: it["cpu"] / size * 1000 for size, it in found.items()}
    fan_out = max(costs.values()) / min(costs.values())
    note(
        Figure(
            what=f"a mapped item, {least:,} to {most:,} of them, CPU time",
            measured=", ".join(f"{cost:.1f} ms" for cost in costs.values()),
            ratio=f"{fan_out:.2f}x",
            target="1.2x",
            met=fan_out <= 1.2,
        )
    )
    worst = max(it["still"] for it in found.values())
    note(
        Figure(
            what="the event loop stands still, at most",
            measured=", ".join(f"{it['still'] * 1000:.0f} ms" for it in found.values()),
            target="50 ms",
            met=worst <= 0.05,
        )
    )
    grown = found[most]["peak"] / found[least]["peak"]
    note(
        Figure(
            what=f"peak memory, {least:,} to {most:,} items",
            measured=", ".join(f"{it['peak']:.0f} MB" for it in found.values()),
            ratio=f"{grown:.2f}x",
            target="1.2x",
            met=grown <= 1.2,
        )
    )


def _in_process(dsn: str, size: int) -> dict[str, float]:
    command = [sys.executable, __file__, dsn, str(size)]
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        run = subprocess.run([*command, folder, "prepare"], stdout=subprocess.PIPE, text=True, check=True).stdout
        done = subprocess.run([*command, folder, run.strip()], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(dsn: str, size: int, folder: str, run: str) -> None:
    """In a process of its own: do everything before the items, or the items of a run."""
    from muster.database import Database
    from support.runs import Site

    include, database = Path(folder) / "include", Database(dsn)
    if run == "prepare":
        site = Site(Path(folder), database)
        site.skills("bench", SKILLS)
        run = site.open(site.definition(AUTOMATION), names=[f"letter {number}" for number in range(size)])
        for step in ("list", "read"):
            assert site.step(run, step).status == "succeeded"
        site.expand(run, "post")
        print(run)
    else:
        site = Site.of(include, database, Path(folder) / "artifacts")
        print(json.dumps(site.do(_items(site.services, run, size))))


async def _items(services: Any, run: str, size: int) -> dict[str, float]:
    from muster.execution.performing import perform
    from muster.execution.references import WorkRef

    late, limit = 0.0, asyncio.Semaphore(AT_ONCE)
    # Else looking through all that was imported, which never is garbage, is measured as well: a tenth of a second.
    gc.freeze()

    async def watch() -> None:
        nonlocal late
        while True:
            before = time.thread_time()
            await asyncio.sleep(TICK)
            late = max(late, time.thread_time() - before)

    async def item(slot: int) -> str:
        async with limit:
            return (await perform(services, WorkRef(run=run, step="post", slot=slot))).status

    watching = asyncio.create_task(watch())
    wall, cpu = time.perf_counter(), time.process_time()
    ended = await asyncio.gather(*map(item, range(size)))
    watching.cancel()
    assert ended == ["succeeded"] * size
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "still": late,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5]) if len(sys.argv) > 1 else main()
