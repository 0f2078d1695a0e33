"""1,000 items in one task instance: `python tests/perf/bench_pack.py` prints ratios measured in one run.

A step with `each` and `pack: all` asks a scripted model server, which answers after 5 s, once for each item:
`execution.perform` on a real PostgreSQL, with journal and events, as the lane calls it. Compared with a bare
asyncio program that makes the same calls with pydantic-ai and keeps nothing. Each way has a process of its
own, the server too; the ways take turns. Memory is the peak of 100 items against that of 1,000.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import fresh_database, postgres

from muster.local.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

ITEMS, FEW, DELAY, ROUNDS = 1_000, 100, 5.0, 3
_numbers = itertools.count(1)
AUTOMATION = """automation: bench_pack
inputs:
  questions: { type: array, items: { type: integer }, default: [] }
steps:
  - id: ask
    each: "{{ inputs.questions }}"
    pack: all
    agent: asker
    ask: "Question {{ item }}"
"""
AGENTS = """department: bench
agents:
  - { id: asker, role: You answer., tiers: [bench] }
"""


def main() -> None:
    """Run both ways in turn, print the ratios."""
    from figures import Figure, note

    with postgres() as server, _model_server() as url:
        few = _in_process("muster", url, server, FEW)
        rounds = [
            (_in_process("bare", url, server, ITEMS), _in_process("muster", url, server, ITEMS)) for _ in range(ROUNDS)
        ]
        bare_few = _in_process("bare", url, server, FEW)
    for bare, own in rounds:
        print(
            f"bare {bare['wall']:.1f} s, {bare['cpu']:.1f} CPU-s; Muster {own['wall']:.1f} s, "
            f"{own['cpu']:.1f} CPU-s; {own['events']} events",
            flush=True,
        )
    ratio = statistics.median(own["wall"] / bare["wall"] for bare, own in rounds)
    middle = statistics.median
    note(
        Figure(
            what=f"{ITEMS:,} items of {DELAY:g} s in one task, wall time",
            measured=f"{middle(own['wall'] for _, own in rounds):.1f} s",
            compared=f"bare pydantic-ai {middle(bare['wall'] for bare, _ in rounds):.1f} s",
            ratio=f"{ratio:.2f}x",
            target="1.3x",
            met=ratio <= 1.3,
        )
    )
    mine = middle(own["cpu"] for _, own in rounds) / ITEMS
    theirs = middle(bare["cpu"] for bare, _ in rounds) / ITEMS
    note(
        Figure(
            what="CPU time a call",
            measured=f"{mine * 1000:.1f} ms",
            compared=f"bare {theirs * 1000:.1f} ms",
            ratio=f"{mine / theirs:.2f}x",
        )
    )
    peak, bare_peak = middle(own["peak"] for _, own in rounds), middle(bare["peak"] for bare, _ in rounds)
    note(
        Figure(
            what=f"peak memory, {FEW} items to {ITEMS:,}",
            measured=f"{few['peak']:.0f} to {peak:.0f} MB",
            compared=f"bare {bare_few['peak']:.0f} to {bare_peak:.0f} MB",
            ratio=f"{(peak - few['peak']) / (ITEMS - FEW) * 1024:.0f} KB a call under way",
        )
    )


def _in_process(way: str, url: str, server: PostgresServer, count: int) -> dict[str, float]:
    """Run one way in a process of its own, on a fresh database."""
    dsn = fresh_database(server, f"bench_{next(_numbers)}")
    done = subprocess.run(
        [sys.executable, __file__, way, url, dsn, str(count)], stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(way: str, url: str, dsn: str, count: int) -> None:
    """In a process of its own: make the calls and print what they took."""
    work = _WAYS[way](url, dsn, count)
    started, cpu = time.perf_counter(), time.process_time()
    events = work()
    found = {"wall": time.perf_counter() - started, "cpu": time.process_time() - cpu, "events": events}
    print(json.dumps({**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


class Patient:
    """The model, for both ways alike, with time to connect: 1,000 connections at once take a busy machine longer
    than the client's 5 s.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._model: Any = None

    async def model(self, _: str) -> Any:
        """The one model, made once."""
        if self._model is None:
            from openai import AsyncOpenAI, Timeout
            from pydantic_ai.models.openai import OpenAIChatModel
            from pydantic_ai.providers.openai import OpenAIProvider

            client = AsyncOpenAI(base_url=self._url, api_key="any", timeout=Timeout(600, connect=120))
            self._model = OpenAIChatModel("bench", provider=OpenAIProvider(openai_client=client))
        return self._model


def bare(url: str, _: str, count: int) -> Callable[[], int]:
    """The calls, made with pydantic-ai alone."""
    from pydantic_ai import Agent

    async def work() -> int:
        model = await Patient(url).model("bench")
        agent = Agent(model, instructions="You answer.")
        answers = await asyncio.gather(*(agent.run(f"Question {number}") for number in range(count)))
        assert len(answers) == count
        return 0

    return lambda: asyncio.run(work())


def muster(url: str, dsn: str, count: int) -> Callable[[], int]:
    """The calls, made by a step that is packed whole."""
    import muster.agents.tiered  # noqa: F401 - imported with the first call otherwise
    from muster.database import Database
    from support.runs import Site

    folder = Path(tempfile.mkdtemp(prefix="muster-bench-site-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    site = Site(folder, Database(dsn), Patient(url))
    site.agents(AGENTS)
    definition = site.definition(AUTOMATION)

    def work() -> int:
        outcome = site.step(run, "ask")
        assert outcome.output == {"failed": 0, "set_aside": 0, "skipped": 0, "succeeded": count}, outcome
        return site.services.log.version(run)

    run = site.open(definition, questions=list(range(count)))
    return work


_WAYS: dict[str, Callable[[str, str, int], Callable[[], int]]] = {"bare": bare, "muster": muster}


@contextmanager
def _model_server() -> Iterator[str]:
    command = [sys.executable, str(ROOT / "tests" / "support" / "model_server.py"), "--delay", str(DELAY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])) if len(sys.argv) > 1 else main()
