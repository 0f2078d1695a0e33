"""One failed item of 1,000, done again: `python tests/perf/bench_restart.py` counts what was called for it.

A step with `each` over 1,000 items, of which one fails, is performed as the lanes do it, on a real PostgreSQL; then
the item is redriven. Counted are the skill's own calls, so nothing that was repeated can hide. The time is that of
planning, writing and performing the redrive, with and without one task instance for each item.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from servers import fresh_database, postgres

from muster.database import Database

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

ITEMS, BROKEN = 1_000, 637
WAYS: tuple[tuple[Any, str], ...] = (("all", "one pack"), (50, "packs of 50"), (1, "a task for each item"))


def main() -> None:
    """Measure each way of packing, print what was called."""
    with postgres() as server, tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        dsn = fresh_database(server, "bench")
        for pack, way in WAYS:
            _measure(Path(folder) / f"pack-{pack}", dsn, pack, way)


def _measure(folder: Path, dsn: str, pack: Any, way: str) -> None:
    from figures import Figure, note

    from support.depot import Depot

    folder.mkdir()
    database = Database(dsn)
    try:
        depot = Depot(folder, database, names=[f"item {number}" for number in range(ITEMS)])
        run = depot.run(pack, f"item {BROKEN}")
        began = time.perf_counter()
        plan = depot.redrive(run, each=[BROKEN])
        depot.perform(run, plan, steps=["each"])
        took = time.perf_counter() - began
        called = depot.called()
    finally:
        database.close()
    note(
        Figure(
            what=f"redrive of 1 failed item of {ITEMS:,} ({way}): items repeated",
            measured=f"{len(called)} ({', '.join(called[:3])}) in {took * 1000:.0f} ms",
            compared=f"{ITEMS:,} in the list",
            target="exactly the failed one",
            met=called == [f"each item {BROKEN}"],
        )
    )


if __name__ == "__main__":
    main()
