"""How many invoices a second one core reads and checks from XML, and whether memory stays flat over 10,000.

Run with `python tests/perf/bench_invoices.py [count]`; it needs the test data, see `tests/support/invoices.py`.
"""

from __future__ import annotations

import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from figures import Figure, note

from muster.skills.finance.reading.document import read_document
from muster.skills.finance.rules.catalogue import check

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.invoices import CASES, DATA


def main(count: int) -> None:
    """Read and check the examples over and over, and print the figures."""
    folder = DATA / "xrechnung"
    files = [(folder / f"{case}-INVOICE_{syntax}.xml").read_bytes() for case in CASES for syntax in ("ubl", "uncefact")]
    today = datetime.now(UTC).date()
    for data in files:
        check(read_document(data, "bench"), today=today)
    print(f"{len(files)} examples of {sum(map(len, files)) / len(files) / 1024:.0f} KB on average")
    started, marks = time.process_time(), {}
    for number in range(count):
        read = read_document(files[number % len(files)], "bench")
        check(read, today=today)
        if (number + 1) % max(count // 5, 1) == 0:
            marks[number + 1] = _resident()
            print(f"  {number + 1:6} invoices: {_resident():6.1f} MB resident")
    seconds = time.process_time() - started
    first, last = next(iter(marks.values())), list(marks.values())[-1]
    rate = count / seconds
    note(
        Figure(
            what="invoices read and checked from XML, a second of one core's time",
            measured=f"{rate:.0f}",
            target="20",
            met=rate >= 20,
        )
    )
    note(
        Figure(
            what=f"memory after {count:,} invoices",
            measured=f"{last:.0f} MB",
            compared=f"{first:.0f} MB after a fifth of them",
            ratio=f"{last / first:.3f}x",
            target="flat",
            met=last <= 1.05 * first,
        )
    )
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.1f} MB")


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
