"""Watches over one program: adds up what its processes use, and ends all of them at a limit, or with whoever wants it.

`python -m muster.isolation.supervisor ORDER LIFE STATUS`: numbers of open files. A process of its own, because a task's
process may be killed at any time: LIFE ends then, and with it the program. Orphans fall to it, so whatever a process
does to its session or group, it stays below.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

from muster.isolation.order import Ended, Order
from muster.isolation.processes import become_subreaper, below, kill_below, memory, reap_children

TICK = 0.05
"""Seconds between two looks."""
_MB = 1024 * 1024


@dataclass
class _Watch:
    """What the processes of one program have used so far."""

    order: Order
    root: int
    spared: frozenset[int]
    """Processes that are Muster's own."""
    used: Ended = field(default_factory=Ended)
    _cpu: dict[tuple[int, int], float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _next_walk: float = 0.0

    def look(self, *, last: bool = False) -> str | None:
        """Measure; return the first limit that is passed."""
        there = below(self.root)
        found = [each for each in there if each.pid not in self.spared]
        for each in found:
            self._cpu[each.pid, each.started] = each.cpu
        # Of those that ended between two looks their parents know; of those whose parents did not ask, the looks.
        reaped = sum(each.cpu for each in found) + sum(each.reaped_cpu for each in there)
        taken = sum(memory(each.pid) for each in found)
        if taken > self.most("memory_mb"):
            taken = sum(memory(each.pid, exact=True) for each in found)
        self.used = replace(
            self.used,
            seconds=time.monotonic() - self._began,
            cpu_seconds=max(self.used.cpu_seconds, reaped, sum(self._cpu.values())),
            memory=max(self.used.memory, taken),
            processes=max(self.used.processes, sum(each.threads for each in found)),
        )
        if last or time.monotonic() >= self._next_walk:
            self._walk()
        return self._passed()

    def most(self, limit: str) -> int:
        """A limit in bytes where it is one of bytes."""
        return self.order.limits[limit] * (_MB if limit.endswith("_mb") else 1)

    def _walk(self) -> None:
        began = time.monotonic()
        disk, files = usage(self.order.measured, most=self.most("files"))
        self.used = replace(self.used, disk=max(self.used.disk, disk), files=max(self.used.files, files))
        # A large folder takes long to look through: not more than a tenth of the time.
        now = time.monotonic()
        self._next_walk = now + max(2 * TICK, 10 * (now - began))

    def _passed(self) -> str | None:
        used = {
            "seconds": self.used.seconds,
            "cpu_seconds": self.used.cpu_seconds,
            "memory_mb": self.used.memory,
            "processes": self.used.processes,
            "disk_mb": self.used.disk,
            "files": self.used.files,
        }
        return next((limit for limit, amount in used.items() if amount > self.most(limit)), None)


def usage(folder: str, *, most: int) -> tuple[int, int]:
    """Bytes on the disk that a folder takes, and how many files and folders it has; looks at few more than `most`."""
    disk = files = 0
    waiting = [folder]
    while waiting and files <= most:
        try:
            entries = os.scandir(waiting.pop())
        except OSError:
            continue
        with entries:
            for entry in entries:
                files += 1
                with suppress(OSError):
                    disk += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                if files > most:
                    break
    return disk, files


def main(order: int, life: int, status: int) -> None:
    """Run the program to its end, and tell how it ended."""
    become_subreaper()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()
    wanted = Order.read(order)
    ended = _run(wanted, order, life, status, parent)
    if wanted.at_end:
        with suppress(OSError, subprocess.SubprocessError):
            quiet = subprocess.DEVNULL
            subprocess.run(wanted.at_end, stdin=quiet, stdout=quiet, stderr=quiet, timeout=30, check=False)
    with suppress(OSError):
        os.write(status, ended.as_json())


def _run(wanted: Order, order: int, life: int, status: int, parent: int) -> Ended:
    alive, lives = os.pipe()
    told, tells = os.pipe()
    numbers = (order, alive, tells, status)
    own = [sys.executable, "-I", "-m", "muster.isolation.launcher", *map(str, numbers)]
    launcher = subprocess.Popen([*wanted.namespaces, *own], pass_fds=numbers)
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(quiet, number)
    os.close(alive)
    os.close(tells)
    watch = _Watch(wanted, os.getpid(), frozenset(_own_of(launcher, wanted)))
    has_ended, limit, stopped = os.pidfd_open(launcher.pid), None, False
    while True:
        ready, _, _ = select.select([has_ended, life], [], [], TICK)
        watch.spared = frozenset(_own_of(launcher, wanted))
        stopped = life in ready or os.getppid() != parent
        limit = watch.look(last=has_ended in ready)
        if has_ended in ready or stopped or limit:
            break
    # The first process of a namespace takes all others with it.
    for pid in watch.spared:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    launcher.wait()
    kill_below(os.getpid(), reap=reap_children)
    os.close(lives)
    with os.fdopen(told, "rb") as said:
        answer = json.loads(said.read() or b"{}")
    used = watch.used
    if has_ended in ready and not limit and answer.get("code") is None and "error" not in answer:
        answer = {"error": f"the process that starts it ended with {launcher.returncode}"}
    if limit or (stopped and not answer):
        answer = {}
    return replace(used, code=answer.get("code"), error=answer.get("error"), limit=limit, stopped=stopped)


def _own_of(launcher: subprocess.Popen[bytes], order: Order) -> list[int]:
    """The processes that are no part of the program: the launcher, and what has given it its namespaces."""
    if not order.namespaces:
        return [launcher.pid]
    return [launcher.pid, *(each.pid for each in below(launcher.pid) if each.parent == launcher.pid)]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
