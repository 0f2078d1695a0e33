"""Processes that do the same in several ways, in turn and together, so that the ways are compared under one load."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Collection, Mapping
from multiprocessing.synchronize import Barrier
from typing import Any

Worker = Callable[[str, int, Barrier, Any], None]
"""Given the database, its number, a barrier and the queue of results: calls `play` with the ways of its module."""


def play(ways: Mapping[str, Callable[[], int]], barrier: Barrier, results: Any, *, rounds: int, seconds: float) -> None:
    """All ways in turn, round by round, together with the other workers; each says how many it did a second."""
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            barrier.wait()
            begun, done = time.perf_counter(), 0
            while time.perf_counter() - begun < seconds:
                done += way()
            results.put((name, done / (time.perf_counter() - begun)))


def rates_of(worker: Worker, ways: Collection[str], dsn: str, *, processes: int, rounds: int) -> dict[str, list[float]]:
    """What each process did a second in each round, by the way."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=worker, args=(dsn, number, barrier, results)) for number in range(processes)]
    for process in workers:
        process.start()
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(processes * rounds * len(ways)):
        name, rate = results.get()
        rates[name].append(rate)
    for process in workers:
        process.join()
    return rates
