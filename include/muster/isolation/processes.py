"""The processes below one: listed, measured and killed."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38


@dataclass(frozen=True)
class Process:
    """What the system says of one process."""

    pid: int
    parent: int
    started: int
    """In ticks since the machine was started: with the number it names the process for good."""
    threads: int
    cpu: float
    """Seconds on processors, of its own."""
    reaped_cpu: float
    """The same of its children that have ended."""


def process(pid: int) -> Process | None:
    """What is known of a process; None when it is gone."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # Its name, in parentheses, may hold anything.
    fields = said.rpartition(")")[2].split()
    if fields[0] in "ZX":
        # Ended already: it holds nothing, and only its parent can take it away.
        return None
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    reaped = (int(fields[13]) + int(fields[14])) / _TICKS
    return Process(pid, int(fields[1]), int(fields[19]), int(fields[17]), cpu, reaped)


def below(root: int) -> list[Process]:
    """All processes below one, without itself."""
    found, waiting = list[Process](), [root]
    while waiting:
        for pid in _children(waiting.pop()):
            waiting.append(pid)
            if (known := process(pid)) is not None:
                found.append(known)
    return found


def _children(pid: int) -> Iterator[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            yield from map(int, (thread / "children").read_text(encoding="ascii").split())
        except FileNotFoundError:
            if not Path("/proc/thread-self/children").exists():
                # A kernel without such lists.
                yield from (each.pid for each in _all() if each.parent == pid)
                return
        except OSError:
            continue


def _all() -> Iterator[Process]:
    for pid in _pids():
        if (known := process(pid)) is not None:
            yield known


def _pids() -> Iterator[int]:
    return (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def threads_of_user(uid: int) -> int:
    """How many processes and threads a user has on this machine."""
    count = 0
    for known in _all():
        with suppress(OSError):
            count += known.threads if Path(f"/proc/{known.pid}").stat().st_uid == uid else 0
    return count


def memory(pid: int, *, exact: bool = False) -> int:
    """Bytes of memory that are a process's own; `exact` counts what it shares with others only in part."""
    names = ("Pss:", "SwapPss:") if exact else ("RssAnon:", "RssShmem:", "VmSwap:")
    try:
        said = Path(f"/proc/{pid}/{'smaps_rollup' if exact else 'status'}").read_text(
            encoding="utf-8", errors="replace"
        )
        return sum(int(line.split()[1]) * 1024 for line in said.splitlines() if line.startswith(names))
    except (OSError, ValueError, IndexError):
        return memory(pid) if exact and process(pid) is not None else 0


def kill_below(root: int, *, seconds: float = 10.0, reap: Callable[[], None] = lambda: None) -> bool:
    """Kill all processes below one, also those that are being started meanwhile; false if some did not end in time.

    Whoever calls it has to be the one that orphans fall to: then nothing leaves the tree.
    """
    limit = time.monotonic() + seconds
    while (found := below(root)) and time.monotonic() < limit:
        # First stopped, until a look finds no new one: whatever is stopped starts no others, while those that are
        # killed one by one could be started anew behind the back of the one that kills.
        stopped = set[tuple[int, int]]()
        while (new := {(each.pid, each.started) for each in found} - stopped) and time.monotonic() < limit:
            for pid, _ in new:
                _signal(pid, signal.SIGSTOP)
            stopped |= new
            found = below(root)
        for pid, _ in stopped:
            _signal(pid, signal.SIGKILL)
        reap()
        time.sleep(0.002)
    reap()
    return not below(root)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def reap_children() -> None:
    """Take away the children of this process that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def become_subreaper() -> None:
    """Have orphans below this process fall to it, whatever session or group they are of."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def gain_nothing() -> None:
    """Let no program that is begun from here have more rights than this one."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def kill_marked(mark: str) -> None:
    """Kill all processes whose environment holds this setting, until none is left."""
    for _ in range(100):
        found = [pid for pid in _pids() if pid != os.getpid() and _has(pid, mark)]
        if not found:
            return
        for pid in found:
            _signal(pid, signal.SIGSTOP)
        for pid in found:
            _signal(pid, signal.SIGKILL)
        time.sleep(0.01)


def _has(pid: int, mark: str) -> bool:
    try:
        return mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
