"""A long-running command under a keeper, so that nothing it started outlives us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

LOG_LIMIT = 20 * 1024 * 1024
"""Bytes after which a log file is put aside at the next start."""


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """What to run and how to end it."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    """Where standard output and standard error go; appended to."""
    folder: Path = Path("/")
    """Working directory."""
    stop: signal.Signals = signal.SIGTERM
    stop_group: bool = False
    """Send the stop signal to the command's process group, as a terminal does, not to the command alone."""
    grace: float = 15.0
    """Seconds between the stop signal and SIGKILL for everything that is left."""
    foundation: bool = False
    """True if other processes need this one: it is stopped after those that are no foundation."""
    user: str | None = None
    """Account to run as; only root may name one."""


class ManagedProcess:
    """One command under one keeper. When this process dies, in whatever way, the command dies too."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The keeper's process id, which is also the session id of all it keeps."""
        return self._keeper.pid if self._keeper else None

    def start(self) -> None:
        """Start the command; returns at once."""
        spec = self.spec
        account = ["--user", spec.user] if spec.user else []
        # With `-P`, so that no file in the working directory is imported in place of a module.
        keeper = [
            sys.executable,
            "-P",
            "-m",
            "muster.local.keeper",
            "--parent",
            str(os.getpid()),
            "--stop",
            spec.stop.name,
            "--grace",
            str(spec.grace),
            *account,
            *(["--group"] if spec.stop_group else []),
            "--",
        ]
        with _open_log(spec.log) as log:
            self._keeper = subprocess.Popen(
                [*keeper, *spec.command],
                env=dict(spec.environment),
                cwd=spec.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A terminal's Ctrl-C goes to its foreground processes: it reaches the supervisor alone, which stops in
                # order.
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """The exit code once the command has ended and its leftovers are gone, None while it runs."""
        if self._keeper is None:
            return None
        code = self._keeper.poll()
        if code is not None and code < 0:
            # Below zero a signal ended the keeper itself, so it could not clean up after its command.
            kill_session(self._keeper.pid)
        return code

    def request_stop(self) -> None:
        """Ask the command to end; returns at once."""
        if self._keeper is not None and self._keeper.poll() is None:
            self._keeper.terminate()

    def kill(self) -> None:
        """End the command at once, for one that hangs; `poll` ends what it started, and says that it has crashed."""
        if self._keeper is not None and self._keeper.poll() is None:
            self._keeper.kill()

    def stop(self) -> None:
        """End the command and everything it started; does nothing if it has ended."""
        if self._keeper is None:
            return
        self.request_stop()
        try:
            self._keeper.wait(self.spec.grace + 10)
        # The keeper ends by itself after the grace and a sweep. One that has not hangs, so it is killed, and `poll`
        # kills its session.
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        self.poll()
        self._keeper = None


def kill_session(session: int) -> None:
    """SIGKILL every process of a session and all their descendants, until none is left."""
    # Again and again, because a process that forks while the list is made has a child that is not on it.
    for _ in range(20):
        members = [candidate for candidate in psutil.process_iter() if _session_of(candidate.pid) == session]
        doomed = [candidate for candidate in _with_descendants(members) if _alive(candidate)]
        if not doomed:
            return
        for process in doomed:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.05)


def _with_descendants(processes: Sequence[psutil.Process]) -> set[psutil.Process]:
    family = set(processes)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            family.update(process.children(recursive=True))
    return family


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _session_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return None


@contextlib.contextmanager
def _open_log(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
