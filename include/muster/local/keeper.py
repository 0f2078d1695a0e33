"""Runs one command, and ends everything that the command started, whichever process dies first.

Started by `ManagedProcess` as `python -P -m muster.local.keeper`, in a session of its own. Standard
library and psutil only, so that a keeper costs little memory.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK_INTERVAL = 0.5
"""Seconds between two looks at whether the supervisor still lives."""
LEFTOVER_GRACE = 3.0
"""Seconds that processes left behind by the command get between SIGTERM and SIGKILL."""


class Keeper:
    """Waits for the command, for a stop signal, or for the supervisor's death, and cleans up after each."""

    def __init__(
        self,
        command: list[str],
        *,
        parent: int,
        stop: signal.Signals,
        grace: float,
        user: str | None,
        group: bool,
    ) -> None:
        self._command = command
        self._parent = parent
        self._stop = stop
        self._grace = grace
        self._user = user
        self._group = group
        self._stopping = False
        self._code: int | None = None

    def run(self) -> int:
        """Run the command to its end; its exit code, `128 + n` when signal n ended it."""
        # What the command abandons becomes a child of the keeper; else it would belong to init, and `_sweep` would not
        # find it.
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        # Before the command starts: a stop signal that comes in between would end the keeper by the default action, and
        # leave the command behind.
        wake = self._listen()
        child = self._start()
        while not (self._stopping or self._orphaned() or self._reaped(child)):
            self._pause(wake)
        if self._code is None:
            self._end(child, wake)
        self._sweep()
        return 128 - self._code if self._code is not None and self._code < 0 else (self._code or 0)

    def _listen(self) -> int:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        os.set_blocking(reading, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

        def request_stop(*_: object) -> None:
            self._stopping = True

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, request_stop)
        # A handler that does nothing, because only a signal with a handler writes to the pipe and so ends the pause.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return reading

    def _start(self) -> int:
        # The same session as the keeper, so that the supervisor can find what is left should the
        # keeper itself be killed; a group of its own, so that a signal to that group misses the keeper.
        options: dict[str, Any] = {"process_group": 0, "preexec_fn": _dies_with_parent(self._stop)}
        if self._user is not None:
            import pwd

            account = pwd.getpwnam(self._user)
            options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, **options).pid

    def _orphaned(self) -> bool:
        # Compared with the id that the supervisor gave. If this process asked for its parent's id at its start and the
        # supervisor had died by then, the id would be that of the process that inherited it, and never change.
        return os.getppid() != self._parent

    def _reaped(self, child: int) -> bool:
        # Reaps every child: as subreaper this process inherits what the command abandons.
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == child:
                    self._code = os.waitstatus_to_exitcode(status)
        return self._code is not None

    def _pause(self, wake: int) -> None:
        # A signal that came after the loop last looked has left a byte in the pipe, so the pause ends at once. No
        # signal tells that the supervisor died, so the pause is short and the loop looks for it.
        select.select([wake], [], [], LOOK_INTERVAL)
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)

    def _end(self, child: int, wake: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            # It may have ended between the last look and this.
            (os.killpg if self._group else os.kill)(child, self._stop)
        deadline = time.monotonic() + self._grace
        while not self._reaped(child) and time.monotonic() < deadline:
            self._pause(wake)

    def _sweep(self) -> None:
        leftovers = psutil.Process().children(recursive=True)
        for process in leftovers:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(leftovers, timeout=LEFTOVER_GRACE)
        # A process may fork between the listing and its SIGKILL, and that child is on no list: repeat until none is
        # left.
        while alive:
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(alive, timeout=1)
            alive = [child for child in psutil.Process().children(recursive=True) if not _is_dead(child)]


def _is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _dies_with_parent(number: signal.Signals) -> Callable[[], None]:
    if sys.platform != "linux":
        return lambda: None
    # Loaded before the fork: between fork and exec as little as possible may happen.
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def main() -> int:
    """Read the arguments and keep the command."""
    parser = argparse.ArgumentParser(prog="keeper")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--stop", default="SIGTERM")
    parser.add_argument("--grace", type=float, default=15.0)
    parser.add_argument("--user")
    parser.add_argument("--group", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    stop = signal.Signals[arguments.stop]
    return Keeper(
        command,
        parent=arguments.parent,
        stop=stop,
        grace=arguments.grace,
        user=arguments.user,
        group=arguments.group,
    ).run()


if __name__ == "__main__":
    sys.exit(main())
