"""Many runs while a fifth of all calls fails: `python tests/campaigns/failing_calls.py [RUNS] [SEED]`.

Runs of one automation are played in the domain, Airflow left out, on a real PostgreSQL. Each call of a skill or an
agent fails with the given chance, half of the time before anything happened and half of the time after. Every run
must end completed or compensated, none in a state nobody knows; each account must hold what its run's end says.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from muster.database import Database
from muster.errors import TransientError
from muster.execution.services import Services
from muster.execution.work_item import WorkItem
from muster.language import load_folder
from muster.language.definition import Definition
from muster.migrations import migrate
from muster.rehearsal.playing import Playing
from muster.rehearsal.script import Case
from muster.rehearsal.stage import own_server

CHANCE = 0.2
AT_ONCE = 8
WANTED = 0.999

SKILLS = (Path(__file__).parent / "skills" / "failing_calls.py").read_text()
AGENTS = "department: till\nagents:\n  - {id: teller, role: You count., tiers: [none], offline: till.guess}\n"
CHANGE = (
    "skill: till.change, with: {amount: %d}, retry: {times: 4, delay: 0s}, "
    "compensate: {skill: till.give_back, retry: {times: 9, delay: 0s}}"
)
AUTOMATION = f"""automation: failing_calls
steps:
  - {{id: first, {CHANGE % 1}}}
  - {{id: asked, agent: teller, ask: How much?, with: {{amount: 3}}, retry: {{times: 4, delay: 0s}}}}
  - {{id: left, after: asked, {CHANGE % 10}}}
  - {{id: right, after: asked, {CHANGE % 100}}}
  - {{id: many, after: [left, right], each: [1, 2, 3], pack: all, {CHANGE % 1000}}}
  - {{id: last, {CHANGE % 10000}}}
"""
WHOLE = 1 + 10 + 100 + 3 * 1000 + 10000


@dataclass
class Failing:
    """Lets calls fail by chance."""

    random: Random
    calls: int = 0
    failed: int = 0

    async def __call__(self, work_item: WorkItem, act: Callable[[], Awaitable[Any]]) -> Any:
        """The call's answer, or a failure before or after it."""
        self.calls += 1
        drawn = self.random.random()
        if drawn >= CHANCE:
            return await act()
        self.failed += 1
        if drawn >= CHANCE / 2:
            await act()
        raise TransientError("The campaign lets this call fail.")


class Run(Playing):
    """A run whose calls fail."""

    failing: Failing

    def services(self) -> Services:
        """With the failures in place of a rehearsal's."""
        from dataclasses import replace

        return replace(super().services(), intercept=self.failing)


async def campaign(runs: int, seed: int, definition: Definition, dsn: str, folder: Path, site: Path) -> Counter[str]:
    """Play them all, some at once; how they ended."""
    failing, ends, gate = Failing(Random(seed)), Counter[str](), asyncio.Semaphore(AT_ONCE)
    database = Database(dsn, max_size=AT_ONCE)

    async def one() -> None:
        async with gate:
            run = Run(definition, Case(name="any"), database, folder, site)
            run.failing = failing
            state = await run.play()
            async with database.aconnection() as connection:
                row = await (
                    await connection.execute("SELECT coalesce(sum(amount), 0) FROM till WHERE run = %s", (run.run,))
                ).fetchone()
            assert row is not None
            wanted = {"succeeded": WHOLE, "compensated": 0}.get(state.status)
            ends[state.status if wanted in (None, row[0]) else f"{state.status}, but the till holds {row[0]}"] += 1

    try:
        await asyncio.gather(*(one() for _ in range(runs)))
    finally:
        await database.aclose()
    print(f"{failing.failed} of {failing.calls} calls failed ({failing.failed / failing.calls:.1%}), seed {seed}")
    return ends


def main() -> None:
    """Play, print a table, and fail when too many runs ended otherwise."""
    runs, seed = (int(text) for text in [*sys.argv[1:], *("1000", "1")[len(sys.argv) - 1 :]])
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, own_server() as (server, files):
        include = Path(name)
        for part in ("automations", "skills", "agents"):
            (include / part).mkdir()
        (include / "skills" / "till.py").write_text(SKILLS)
        (include / "agents" / "till.yaml").write_text(AGENTS)
        (include / "automations" / "failing_calls.yaml").write_text(AUTOMATION)
        catalogue = load_folder(include)
        if catalogue.problems:
            sys.exit("\n".join(map(str, catalogue.problems)))
        migrate(server)
        setup = Database(server)
        with setup.connection() as connection:
            connection.execute("CREATE TABLE till (key text PRIMARY KEY, run text NOT NULL, amount int NOT NULL)")
            connection.execute("CREATE INDEX ON till (run)")
        setup.close()
        definition = catalogue.definitions["failing_calls"]
        ends = asyncio.run(campaign(runs, seed, definition, server, files, include / "skills"))
    for end, count in ends.most_common():
        print(f"{end:12} {count:6}")
    good = ends["succeeded"] + ends["compensated"]
    print(f"{good / runs:.2%} of {runs} runs completed or compensated, in {time.monotonic() - began:.0f} s")
    if good < WANTED * runs or set(ends) - {"succeeded", "compensated", "stuck", "failed"}:
        sys.exit(1)


if __name__ == "__main__":
    main()
