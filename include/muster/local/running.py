"""What is running in a state folder: a lock held for as long as it does, and a note for other commands."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from muster.errors import MusterError
from muster.local.credentials import write_secret


@dataclass(frozen=True)
class Running:
    """A started stack, as its note tells."""

    pid: int
    """The supervisor."""
    url: str
    dsn: str = field(repr=False)
    """Muster's database."""
    place: str
    """Where the databases are, in words."""
    ready: bool
    """True once Airflow was healthy."""
    log_folder: str
    components: dict[str, int]
    """Session id of each process."""


class PortBusy(MusterError):
    """Somebody else listens there; nothing was started."""


class AlreadyRunning(MusterError):
    """The project is up already; nothing was started."""


class Lock:
    """Held by the supervisor. It is never stale, because the kernel drops it however that process ends."""

    def __init__(self, state: Path) -> None:
        self._path = state / "lock"
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take the lock; False when another process holds it."""
        descriptor = self._open()
        # `find_running` in another command holds the lock for a moment, only to look. Tried for 0.2 s, so that this
        # does not pass for a running stack.
        for _ in range(10):
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._descriptor = descriptor
                return True
            time.sleep(0.02)
        os.close(descriptor)
        return False

    def is_held(self) -> bool:
        """True while a supervisor holds it; any number of processes may look at once."""
        descriptor = self._open()
        try:
            # Shared: whoever looks at the same time is no supervisor, and nobody has to wait.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def release(self) -> None:
        """Give it back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def note_path(state: Path) -> Path:
    """Where the note is kept."""
    return state / "running.json"


def write_note(state: Path, running: Running) -> None:
    """Tell other commands what runs."""
    write_secret(note_path(state), json.dumps(asdict(running), indent=2))


def find_running(state: Path) -> Running | None:
    """What runs in this state folder now; a note that a killed supervisor left behind counts for nothing."""
    if not state.is_dir():
        return None
    # The lock decides, not the note: a killed supervisor leaves its note behind, and the process id in it may be a
    # stranger's by now.
    if not Lock(state).is_held():
        return None
    # A stack that has just taken the lock has no note yet.
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Running(**json.loads(note_path(state).read_text()))
    return None


def stop_running(state: Path, *, patience: float = 90.0, waiting: Callable[[], None] = lambda: None) -> bool:
    """End what runs in this state folder; False when nothing did.

    Raises:
        MusterError: it did not end in time.
    """
    running = find_running(state)
    if running is None:
        return False
    # It may end between the look and the signal.
    with contextlib.suppress(ProcessLookupError):
        os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while find_running(state) is not None:
        if time.monotonic() > deadline:
            raise MusterError(
                f"Muster (process {running.pid}) has not ended after {patience:.0f} s.",
                remedy=f"`kill -9 {running.pid}` ends it with all its processes.",
            )
        waiting()
        time.sleep(0.1)
    return True


def check_port(port: int, host: str = "127.0.0.1") -> None:
    """Make sure that nobody listens on `port`.

    Raises:
        PortBusy: somebody does.
    """
    with socket.socket() as probe:
        # As servers do: else the closed connections of a stack that has just stopped would make its port look busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise PortBusy(
                f"Port {port} may not be used by this account.",
                remedy="Choose one above 1023 with `muster up --port` or MUSTER_PORT.",
            ) from error
        except OSError as error:
            raise PortBusy(
                f"Port {port} is in use by another program.",
                remedy=f"Choose another one with `muster up --port {port + 1}` or MUSTER_PORT={port + 1}.",
            ) from error
