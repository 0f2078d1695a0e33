"""What it costs that a step reads only events as they were written: `python tests/perf/bench_verified.py`.

The same reads of the same runs by the plain log and by the one that runs are gone on with, turn by turn: what a step
of a run of 100 events reads, in a process that has seen nothing of it (a task process), in one that has (the
triggerer), and by the log of one request where others have (the API server).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from figures import Figure, note
from servers import fresh_database, postgres

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import Event, NewEvent
from muster.events.model import EventType as T
from muster.events.verified import VerifiedLog

EVENTS = 100
ROUNDS = 200
OUTPUT = {"number": "R-2026-0042", "total": "1190.00", "currency": "EUR", "lines": [{"net": "1000.00", "vat": "19"}]}


def event(number: int) -> NewEvent:
    """An item's end, of one of ten steps."""
    data = {"step": f"s{number % 10}", "index": number, "output": OUTPUT, "produced_by": "rules", "output_type": None}
    return NewEvent(type=T.STEP_SUCCEEDED, data=data, key=f"s{number % 10}[{number}]/ended@0")


def seconds(read: Callable[[], object]) -> float:
    """How long a read takes."""
    began = time.perf_counter()
    read()
    return time.perf_counter() - began


def _step(log: EventLog) -> list[Event]:
    return list(log.read("run/1", steps=["s1", "s2"]))


def measure(dsn: str) -> None:
    """Read by turns, note the medians."""
    database = Database(dsn)
    plain, warm = EventLog(database), VerifiedLog(database)
    plain.append("run/1", [event(number) for number in range(EVENTS)])
    taken: dict[str, list[float]] = {name: [] for name in ("plain", "cold", "warm", "given", "whole", "checked")}
    list(warm.read("run/1"))
    for _ in range(ROUNDS):
        taken["plain"].append(seconds(partial(_step, plain)))
        taken["cold"].append(seconds(partial(_step, VerifiedLog(database))))
        taken["warm"].append(seconds(partial(_step, warm)))
        given = VerifiedLog(database)
        given.verified = warm.verified
        taken["given"].append(seconds(partial(_step, given)))
        taken["whole"].append(seconds(lambda: list(plain.read("run/1"))))
        taken["checked"].append(seconds(lambda: plain.verify("run/1")))
    median = {name: statistics.median(each) * 1000 for name, each in taken.items()}
    for name, what in (
        ("cold", "that has seen nothing of it"),
        ("warm", "that has seen it before"),
        ("given", "whose other logs have seen it before"),
    ):
        note(
            Figure(
                what=f"what a step of a run of {EVENTS} events reads, verified, in a process {what}",
                measured=f"{median[name]:.2f} ms",
                compared=f"unverified {median['plain']:.2f} ms",
                ratio=f"{median[name] / median['plain']:.1f} times",
            )
        )
    note(
        Figure(
            what="an event verified",
            measured=f"{median['checked'] / EVENTS * 1000:.0f} µs",
            compared=f"read {median['whole'] / EVENTS * 1000:.0f} µs",
            ratio=f"{median['checked'] / median['whole']:.1f} times",
        )
    )
    database.close()


def main() -> None:
    """Bring up a server of our own and measure on it."""
    with postgres() as server:
        measure(fresh_database(server, "bench"))


if __name__ == "__main__":
    main()
