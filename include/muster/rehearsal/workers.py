"""Plays scenarios side by side, each in one of several processes; their order and what is said stay the same."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess

from muster.rehearsal.scenarios import Scenario

Judged = list[tuple[str, list[str]]]
"""The name of each scenario, with its problems; none when all is well."""
Heard = Callable[[str, list[str]], None]

# Forked, because a child knows all that was imported, and what the first case came to, as soon as it is there.
_FORK = get_context("fork")


def cores() -> int:
    """On how many cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def judged(scenarios: Sequence[Scenario], workers: int, heard: Heard | None = None) -> Judged:
    """All scenarios with their problems, in their order; one whose process dies has that for a problem.

    Args:
        workers: How many processes there are at once.
        heard: Called for each scenario, in their order too, once it and all before it were played.
    """
    troupe = _Troupe(scenarios)
    results: dict[int, list[str]] = {}
    told = 0
    try:
        for number, problems in troupe.play(min(workers, len(scenarios))):
            results[number] = problems
            while told in results:
                if heard is not None:
                    heard(scenarios[told].name, results[told])
                told += 1
    finally:
        troupe.end()
    return [(scenario.name, results[number]) for number, scenario in enumerate(scenarios)]


@dataclass
class _Worker:
    process: ForkProcess
    pipe: Connection
    plays: int
    """The number of the scenario it plays; below zero when none is left for it."""


class _Troupe:
    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self._scenarios = scenarios
        self._left = deque(range(len(scenarios)))
        self._workers: dict[Connection, _Worker] = {}
        # Nothing is ever written: reading it ends when this process does, however it ends.
        self._alive, self._holding = _FORK.Pipe(duplex=False)

    def play(self, workers: int) -> Iterator[tuple[int, list[str]]]:
        """The numbers of scenarios with their problems, as they come."""
        for _ in range(workers):
            self._start()
        while self._workers:
            ready = wait(list(self._workers))
            for worker in [worker for pipe, worker in self._workers.items() if pipe in ready]:
                try:
                    problems: list[str] = worker.pipe.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    del self._workers[worker.pipe]
                    if worker.plays >= 0:
                        yield worker.plays, [_how_it_died(worker.process.exitcode)]
                        self._start()
                    continue
                yield worker.plays, problems
                self._next(worker)

    def end(self) -> None:
        """Stop all that still play; nobody wants what they would say."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            worker.process.join()
        self._alive.close()
        self._holding.close()

    def _start(self) -> None:
        if not self._left:
            return
        mine, theirs = _FORK.Pipe()
        with warnings.catch_warnings():
            # Threads that send signs of life begin anew in a child, and none of them holds a lock that it needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = _FORK.Process(target=self._work, args=(mine, theirs), name="muster-rehearsal")
            process.start()
        theirs.close()
        worker = self._workers[mine] = _Worker(process, mine, -1)
        self._next(worker)

    def _next(self, worker: _Worker) -> None:
        worker.plays = self._left.popleft() if self._left else -1
        # One that has died meanwhile is found by its end of the pipe, like any other.
        with suppress(OSError):
            worker.pipe.send(worker.plays)

    def _work(self, parents: Connection, pipe: Connection) -> None:
        """A worker's life."""
        # The ends that are others': as long as anybody holds one, who waits at the other end learns of no death.
        for connection in (parents, self._holding, *self._workers):
            connection.close()
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        # A terminal's Ctrl-C goes to all, and the parent ends this process. A handler, since what skills start would
        # ignore it as well if this process did.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        asyncio.run(self._play_all(pipe))

    async def _play_all(self, pipe: Connection) -> None:
        while (number := pipe.recv()) >= 0:
            pipe.send(await self._scenarios[number].judge())
        # At once, without waiting for what scenarios left at work; the stage drops what this process played in.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _end_with_parent(self) -> None:
        wait([self._alive])
        os._exit(1)


def _how_it_died(code: int | None) -> str:
    how = f"by signal {-code}" if code is not None and code < 0 else f"with {code}"
    return f"it broke off: its process ended {how}"
