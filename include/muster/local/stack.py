"""All of Muster on one machine: PostgreSQL, both schemas, Airflow's processes, from nothing to healthy."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import psycopg

from muster.errors import MusterError
from muster.local.airflow import COMPONENTS, HEALTH_NAMES, Ports, component_specs, environment, write_passwords
from muster.local.client import AirflowClient, NoAnswer, Unreachable
from muster.local.credentials import Credentials, alone, renew_logins
from muster.local.databases import Databases, prepare_embedded, prepare_given
from muster.local.postgres import PostgresServer, data_directory, free_port
from muster.local.project import Project
from muster.local.running import (
    AlreadyRunning,
    Lock,
    Running,
    check_port,
    find_running,
    note_path,
    write_note,
)
from muster.local.supervisor import Supervisor

Say = Callable[[str], None]


class Stack:
    """Starts everything for one project and one state folder, and stops it again.

    `muster up` and every test that needs a real Airflow use this same class. What it starts
    ends with the process that started it, even when that is killed.
    """

    def __init__(
        self,
        project: Path,
        state: Path | None = None,
        port: int | None = None,
        *,
        host: str = "127.0.0.1",
        variables: Mapping[str, str] | None = None,
        say: Say = lambda _: None,
    ) -> None:
        root = project.resolve()
        self.project = Project(root, (state or root / ".muster").resolve())
        self.port = port or free_port()
        """Of the UI and REST API; a free one unless given."""
        self._host = host
        self._extra = dict(variables or {})
        self._say = say
        self._lock = Lock(self.project.state)
        self._postgres: PostgresServer | None = None
        self._databases: Databases | None = None
        self._probe: AirflowClient | None = None
        self._ready = False
        self.supervisor = Supervisor([], say=say, silent=self._silent)
        self.credentials: Credentials
        """Logins and keys; known from `prepare` on."""
        self.environment: dict[str, str] = {}
        """What Airflow's processes see; known from `prepare` on."""

    @property
    def url(self) -> str:
        """Of the UI."""
        return f"http://localhost:{self.port}"

    @property
    def dsn(self) -> str:
        """Of Muster's database."""
        return self._prepared.muster

    @property
    def place(self) -> str:
        """Where the databases are, in words."""
        return self._prepared.place

    def start(self, *, patience: float = 300.0) -> None:
        """Prepare, launch and wait for health; when anything fails, everything started so far is stopped.

        Raises:
            MusterError: what went wrong, and what to do about it.
        """
        try:
            self.prepare()
            self.launch()
            self.wait_healthy(patience)
        except BaseException:
            self.stop()
            raise

    def prepare(self) -> None:
        """Take the lock, make secrets, start PostgreSQL and bring both schemas up to date."""
        self.project.make_state()
        # The lock first: all below changes what is in the folder, and two supervisors must not.
        if not self._lock.take():
            running = find_running(self.project.state)
            where = f" at {running.url}" if running else ""
            raise AlreadyRunning(
                f"Muster is running already for {self.project.root}{where}.",
                remedy="`muster status` shows it, `muster down` stops it.",
            )
        # The note of a killed supervisor names a process id that may be somebody else's by now.
        note_path(self.project.state).unlink(missing_ok=True)
        # Before anything is started, so that a busy port leaves nothing to take back.
        check_port(self.port, self._host)
        # Both files under one lock: a login that a command adds between the two would be in only one of them.
        with alone(self.project.state):
            self.credentials = renew_logins(self.project.state)
            write_passwords(self.project, self.credentials)
        self._databases = self._prepare_databases()
        self.environment = self._make_environment(self._databases)
        self._note()
        self._migrate()

    def launch(self) -> None:
        """Start Airflow's processes; returns at once."""
        for spec in component_specs(self.project, self.environment):
            self.supervisor.specs = [*self.supervisor.specs, spec]
        self.supervisor.start()
        self._note()

    def health(self) -> dict[str, bool]:
        """Each component, and whether it is up and well."""
        if self._probe is None:
            self._probe = self.client(timeout=5.0)
        try:
            report = self._probe.health()
        except Unreachable:
            report = {}
        return {
            name: report.get(HEALTH_NAMES.get(name, name)) == "healthy" and self.supervisor.components[name].running
            for name in COMPONENTS
            if name in self.supervisor.components
        }

    def wait_healthy(self, patience: float = 300.0, progress: Callable[[dict[str, bool]], None] | None = None) -> None:
        """Return when all four components are well.

        Raises:
            MusterError: they are not well within `patience` seconds, or one keeps crashing; nothing is stopped here.
        """
        deadline = time.monotonic() + patience
        while not all((health := self.health()).values()):
            if progress is not None:
                progress(health)
            self._refuse_crash_loop()
            if time.monotonic() > deadline:
                slow = ", ".join(name for name, well in health.items() if not well)
                raise MusterError(
                    f"Airflow is not healthy after {patience:.0f} s: {slow}.",
                    remedy=f"Read the logs in {self.project.logs}.",
                )
            time.sleep(0.5)
        if progress is not None:
            progress(health)
        self._ready = True
        self._note()

    def stop(self) -> None:
        """Stop every process and give the lock back; a stack that is not running is fine."""
        self.supervisor.stop()
        if self._postgres is not None:
            # Also by itself: a start that failed may not have given it to the supervisor yet.
            self._postgres.stop()
        if self._databases is not None:
            # Before the lock is given back: after that, the note may be that of the next stack that took the lock.
            note_path(self.project.state).unlink(missing_ok=True)
        self._lock.release()

    def discard(self) -> None:
        """Remove the state folder and the embedded database, for good. The stack must have been stopped."""
        if self._postgres is not None:
            data = self._postgres.data
            shutil.rmtree(data, ignore_errors=True)
            data.with_name(f"{data.name}.log").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                data.parent.rmdir()
        shutil.rmtree(self.project.state, ignore_errors=True)

    def client(self, user: str = "admin", *, timeout: float = 30.0) -> AirflowClient:
        """A REST client signed in as one of the project's logins."""
        login = self.credentials.logins[user]
        return AirflowClient(f"http://127.0.0.1:{self.port}", user, login.password, timeout=timeout)

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def _prepared(self) -> Databases:
        if self._databases is None:
            raise MusterError("The stack has not been started.", remedy="Call start() first.")
        return self._databases

    def _silent(self) -> Collection[str]:
        """The API server when it gives no answer; else those without heartbeats, though Airflow's database answers.

        A scheduler that meets an error as it queues tasks may wait for its idle workers for ever
        (`LocalExecutor.end`, Airflow 3.3.2).
        """
        try:
            with self.client(timeout=5.0) as client:
                report = client.health()
        except NoAnswer:
            # Not before all were well once: a first start may take longer than anybody's patience with a server that
            # hangs.
            return ("api-server",) if self._ready else ()
        # Whoever asks must outlive every answer.
        except (MusterError, ValueError):
            return ()
        if report.get(HEALTH_NAMES["api-server"]) != "healthy":
            return ()
        return [name for name in COMPONENTS if report.get(HEALTH_NAMES.get(name, name)) == "unhealthy"]

    def _prepare_databases(self) -> Databases:
        if url := os.environ.get("DATABASE_URL"):
            return prepare_given(url, os.environ.get("MUSTER_DATABASE_PREFIX", ""))
        passwords = self.credentials.database_passwords
        data = data_directory(self.project.state, self.credentials.identity)
        server = PostgresServer(data, port=free_port(), password=passwords["postgres"], superuser="postgres")
        self._postgres = server
        server.start()
        if server.process is not None:
            self.supervisor.add(server.process)
        return prepare_embedded(server.dsn(), passwords)

    def _make_environment(self, databases: Databases) -> dict[str, str]:
        ports = Ports(self.port, worker_logs=free_port(), trigger_logs=free_port())
        made = environment(self.project, self.credentials, databases, ports, host=self._host)
        return {**made, **self._extra}

    def _note(self) -> None:
        pids = {name: state.process.pid or 0 for name, state in self.supervisor.components.items()}
        write_note(
            self.project.state,
            Running(os.getpid(), self.url, self.dsn, self.place, self._ready, str(self.project.logs), pids),
        )

    def _migrate(self) -> None:
        from muster.migrations import migrate

        failures: list[BaseException] = []

        def migrate_airflow() -> None:
            try:
                self._migrate_airflow()
            # An error of a thread would end in the thread; it is raised below, in the thread of `start`.
            except BaseException as error:
                failures.append(error)

        # Side by side, because Airflow's migration takes seconds only to load.
        other = threading.Thread(target=migrate_airflow)
        other.start()
        try:
            migrate(self.dsn)
        finally:
            # Also if our own migration fails: `stop` follows, and would end the server under Airflow's.
            other.join()
        if failures:
            raise failures[0]

    def _migrate_airflow(self) -> None:
        from importlib.metadata import version

        stamp = self.project.airflow_home / "migrated"
        wanted = f"{version('apache-airflow-core')} {self._airflow_revision()}"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        log = self.project.logs / "migrate.log"
        with log.open("w") as output:
            log.chmod(0o600)
            done = subprocess.run(
                [sys.executable, "-P", "-m", "airflow", "db", "migrate"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                check=False,
            )
        if done.returncode:
            raise MusterError(
                f"Airflow's database could not be migrated: {log.read_text()[-600:].strip()}",
                remedy=f"Read {log}.",
            )
        # Last: a migration that was broken off is made again at the next start.
        stamp.write_text(f"{version('apache-airflow-core')} {self._airflow_revision()}")

    def _airflow_revision(self) -> str | None:
        """The schema's revision, so that a database that was dropped or replaced is migrated again."""
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(self._prepared.airflow, connect_timeout=10) as link,
        ):
            row = link.execute("SELECT version_num FROM alembic_version").fetchone()
            return str(row[0]) if row else None
        return None

    def _refuse_crash_loop(self) -> None:
        for name, state in self.supervisor.components.items():
            if state.crashes >= 3:
                tail = state.process.spec.log.read_text(errors="replace")[-600:].strip()
                raise MusterError(f"{name} keeps crashing: {tail}", remedy=f"Read {state.process.spec.log}.")
