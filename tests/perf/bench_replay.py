"""Replay and rebuild: `python tests/perf/bench_replay.py` folds a million events, then rebuilds while others append.

The log is seeded with runs of a fan-out as they really are, chained as every append chains them. One process folds
every run of it: read, parsed, brought to today's shape, applied. The rate is events by time on the clock; what the
process itself needed of its one core is told beside it, as the server and whatever else runs share the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from figures import Figure, note
from servers import fresh_database, postgres

from muster.database import Database
from muster.events.batch import EMPTY, plan, prepare
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.events.rebuild import rebuild
from muster.events.replay import replay
from muster.events.scanning import states

EVENTS = 1_000_000
REBUILT = 100_000
ITEMS = 30
ROUNDS = 3
RATE = 100
"""Appends a second that go on during the rebuild."""

COLUMNS = "stream, version, id, at, causation, type, step, key, actor, correlation, previous_hash, hash, data"
OUTPUT = {"number": "R-2026-0042", "total": "1190.00", "currency": "EUR", "lines": [{"net": "1000.00", "vat": "19"}]}


def run_of(number: int) -> Iterator[NewEvent]:
    """The events of one run: a fan-out whose items each ask a model."""
    yield NewEvent(
        type=T.RUN_OPENED,
        key="opened",
        data={"automation": "invoices", "definition": "d" * 64, "inputs": {"folder": "inbox"}, "requested_by": "ada"},
    )
    yield NewEvent(type=T.STEP_EXPANDED, data={"step": "read", "length": ITEMS, "indices": list(range(ITEMS))})
    for index in range(ITEMS):
        where = {"step": "read", "index": index}
        given = {"uri": f"file:///inbox/{number}-{index}.xml"}
        yield NewEvent(
            type=T.STEP_STARTED, data={**where, "kind": "agent", "lane": "async", "attempt": 1, "input": given}
        )
        asked = {"agent": "clerk", "tier": "fast", "model": "small", "request": "a" * 64, "response": {"text": "4400"}}
        usage = {"input_tokens": 900 + index, "output_tokens": 40 + number % 50}
        cost = f"0.00{number * ITEMS + index:06d}"
        yield NewEvent(
            type=T.MODEL_CALLED, data={**where, **asked, "usage": usage, "cost": cost, "failed": []}, actor="clerk"
        )
        ended = {"output": OUTPUT, "output_type": "Invoice", "produced_by": "fast", "fallback": False}
        yield NewEvent(type=T.STEP_SUCCEEDED, key=f"read[{index}]", data={**where, **ended})
    counts = {"succeeded": ITEMS, "failed": 0, "skipped": 0, "set_aside": 0}
    yield NewEvent(type=T.STEP_COMPLETED, data={"step": "read", "counts": counts})
    yield NewEvent(type=T.RUN_CLOSED, data={"status": "succeeded", "reason": None, "counts": counts})


def seed(dsn: str, events: int) -> int:
    """Fill the log; how many events it holds."""
    written = number = 0
    with psycopg.connect(dsn) as connection:
        with connection.cursor().copy(f"COPY events ({COLUMNS}) FROM STDIN") as copy:
            while written < events:
                stream = f"invoices/scheduled__{number:06d}"
                planned = plan(stream, EMPTY, {}, [prepare(stream, list(run_of(number)), 0, None)])
                for row in planned.rows:
                    hashes = bytes.fromhex(row.previous_hash), bytes.fromhex(row.hash)
                    copy.write_row((stream, *row[:9], *hashes, row.data))
                written, number = written + len(planned.rows), number + 1
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE events")
    return written


def fold(dsn: str, results: Any) -> None:
    """Fold everything, some rounds long: seconds, seconds of the processor and memory after each."""
    database = Database(dsn)
    for _ in range(ROUNDS):
        began, used = time.perf_counter(), processor()
        events = sum(state.version for state in states(database))
        results.put((events, time.perf_counter() - began, processor() - used, memory()))
    database.close()


def processor() -> float:
    """Seconds this process has computed."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def memory() -> float:
    """MiB this process has had at most."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # `ru_maxrss` begins with what the parent had when it started this process.
    return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024


def measure_replay(dsn: str, events: int) -> None:
    """Fold in a process of its own, which does nothing else."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=fold, args=(dsn, results))
    process.start()
    rounds = [results.get() for _ in range(ROUNDS)]
    process.join()
    if {each[0] for each in rounds} != {events}:
        sys.exit("the replay did not fold every event")
    rates = [each[0] / each[1] for each in rounds]
    busy = statistics.median(each[0] / each[2] for each in rounds)
    note(
        Figure(
            what=f"replay of {events:,} events, one core",
            measured=f"{statistics.median(rates):,.0f} events/s ({min(rates):,.0f} to {max(rates):,.0f})",
            compared=f"{busy:,.0f} events by second of processor",
            target="150,000 events/s",
            met=statistics.median(rates) >= 150_000,
        )
    )
    note(
        Figure(
            what=f"memory of a replay of {events:,} events",
            measured=f"{rounds[-1][3]:.0f} MiB",
            compared=f"{baseline(dsn):.0f} MiB for the first 10,000 of them",
        )
    )


def first(dsn: str, results: Any) -> None:
    """Fold the first ten thousand events and no more."""
    folded = 0
    database = Database(dsn)
    for state in states(database):
        folded += state.version
        if folded >= 10_000:
            break
    results.put(memory())
    database.close()


def baseline(dsn: str) -> float:
    """MiB of a process that folded little."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=first, args=(dsn, results))
    process.start()
    found: float = results.get()
    process.join()
    return found


def appender(dsn: str, begun: Any, stop: Any, results: Any) -> None:
    """Append at a steady rate until told to stop; how long each append took."""
    log, times, number = EventLog(Database(dsn, max_size=1)), [], 0
    started = time.perf_counter()
    while not stop.is_set():
        time.sleep(max(0.0, started + number / RATE - time.perf_counter()))
        stream = f"invoices/scheduled__{number % 50:06d}"
        began = time.perf_counter()
        log.append(stream, [NewEvent(type=T.MODEL_CALLED, data={"step": "late", "index": number, "cost": "0.01"})])
        times.append(time.perf_counter() - began)
        number += 1
        if number == RATE:
            begun.set()
    results.put((times[RATE:], len(times) / (time.perf_counter() - started)))


def appending(dsn: str, work: Any) -> tuple[float, list[float], float]:
    """Do `work` while the appender appends: seconds it took, each append's time, appends a second."""
    context = multiprocessing.get_context("spawn")
    begun, stop, results = context.Event(), context.Event(), context.Queue()
    process = context.Process(target=appender, args=(dsn, begun, stop, results))
    process.start()
    begun.wait()
    took = timed(work)
    stop.set()
    times, rate = results.get()
    process.join()
    return took, times, rate


def timed(work: Any) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure_rebuild(dsn: str) -> None:
    """Rebuild alone and while a hundred appends a second go on; then hold every row against the log."""
    database = Database(dsn)
    rebuild(database)
    alone = statistics.median(timed(lambda: rebuild(database)) for _ in range(ROUNDS))
    _, quiet, _ = appending(dsn, lambda: time.sleep(3))
    took, times, rate = appending(dsn, lambda: rebuild(database))
    note(
        Figure(
            what=f"rebuild of {REBUILT:,} events while {RATE} appends a second go on",
            measured=f"{took:.1f} s ({rate:.0f} appends/s kept up)",
            compared=f"{alone:.1f} s alone",
            ratio=f"{took / alone:.2f} times",
        )
    )
    note(
        Figure(
            what="an append meanwhile, median and longest",
            measured=f"{statistics.median(times) * 1000:.1f} ms, {max(times) * 1000:.0f} ms",
            compared=f"{statistics.median(quiet) * 1000:.1f} ms, {max(quiet) * 1000:.0f} ms without",
        )
    )
    wrong = sum(bool(replay(database, f"invoices/scheduled__{number:06d}").differences) for number in range(50))
    note(Figure(what="runs whose rows differ from the log afterwards", measured=str(wrong), target="0", met=not wrong))
    database.close()


def main() -> None:
    """Bring up a server of our own and measure on it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=EVENTS, help="of the replay")
    events = parser.parse_args().events
    with postgres() as server:
        for name, size in (("replay", events), ("rebuild", REBUILT)):
            dsn = fresh_database(server, name)
            print(f"seeding {size:,} events", flush=True)
            written = seed(dsn, size)
            if name == "replay":
                measure_replay(dsn, written)
        measure_rebuild(server.dsn("rebuild"))


if __name__ == "__main__":
    main()
