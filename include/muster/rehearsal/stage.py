"""Where an automation is rehearsed: a PostgreSQL server of its own, and for every run a database as it was prepared."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

import psycopg

from muster.database import Database
from muster.documents import documents_of
from muster.errors import MusterError
from muster.execution.references import run_id
from muster.language.definition import Definition
from muster.local.postgres import PostgresServer, free_port
from muster.migrations import migrate
from muster.rehearsal.copies import Copy, LentDatabase
from muster.rehearsal.faults import NONE, Faults
from muster.rehearsal.playing import Playing, readable
from muster.rehearsal.script import Call, Case, Script
from muster.skills.calling import call_skill
from muster.skills.registry import SkillContext, get_skill

BASE = "muster_rehearsal"
BEGINNING = "rehearsal/beginning"
"""The run that witnesses are asked about before any run was played."""
SERVER = "MUSTER_REHEARSAL_SERVER"
"""The environment variable that names a server, and a role that may make databases there."""
RUN = "rehearsal_"
"""Prefix of the names of databases that runs are played in."""
FOLDER = "muster-rehearsal-"
"""Prefix of the names of folders that rehearsals keep their files in."""


@dataclass
class Stage:
    """A server with one database prepared as the script says; every run finds a database that is as this one."""

    server: str = field(repr=False)
    """DSN of a database on a server on which databases can be made."""
    folder: Path
    """For the files of runs."""
    site: Path | None
    """The site's own skills."""
    others: Mapping[str, Definition] = field(default_factory=dict)
    """The automations that those rehearsed run, by name."""
    questions: Sequence[str | Call] = ()
    """Queries, and skills that ask another system, whose answers are compared."""
    settings: dict[str, object] = field(default_factory=dict)
    name: str | None = None
    """The name of the next run; None for the next of this process."""
    _run: str = BEGINNING
    _mine: str = field(default_factory=lambda: f"{RUN}{secrets.token_hex(3)}")
    _copy: Copy | None = None
    _lent: Database | None = None

    async def prepare(self, script: Script, settings: dict[str, object]) -> None:
        """Make the database that every run begins with, and call what the script prepares."""
        self.questions, self.settings = [*script.state, *script.witness], settings
        self._execute(f"CREATE DATABASE {BASE}")
        migrate(self._dsn(BASE))
        database = Database(self._dsn(BASE))
        try:
            for number, step in enumerate(script.prepare):
                await self._call(step, "rehearsal/prepare", f"prepare_{number}", database)
        finally:
            await database.aclose()

    @asynccontextmanager
    async def playing(self, definition: Definition, case: Case, faults: Faults = NONE) -> AsyncIterator[Playing]:
        """One run in a database that holds what was prepared and nothing else."""
        if self._copy is None:
            name = f"{self._mine}{secrets.token_hex(3)}"
            self._execute(f"CREATE DATABASE {name} TEMPLATE {BASE}")
            self._copy = Copy(name, self._dsn(name))
        self._lent = database = LentDatabase(self._copy.database)
        try:
            files = self.folder / f"{RUN}{secrets.token_hex(6)}"
            name = "" if self.name is None else run_id(definition.name, self.name)
            self.name = None
            playing = Playing(definition, case, database, files, self.site, faults, self.others, run=name)
            self._run = playing.run
            yield playing
        finally:
            self._lent, self._run = None, BEGINNING
            database.end()
            if not self._copy.put_back():
                await self.leave()

    async def leave(self) -> None:
        """Close all connections, and drop the database that runs were played in; the next run makes another one."""
        copy, self._copy = self._copy, None
        if copy is not None:
            await copy.aclose()
            self._drop(copy.name)

    async def state(self) -> list[object]:
        """The answers to the script's questions, about the run that is played, else about the beginning."""
        if self._lent is not None:
            return await self._answers(self._lent)
        database = Database(self._dsn(BASE), max_size=1)
        try:
            return await self._answers(database)
        finally:
            await database.aclose()

    async def _answers(self, database: Database) -> list[object]:
        return [await self._answer(question, number, database) for number, question in enumerate(self.questions, 1)]

    async def _answer(self, question: str | Call, number: int, database: Database) -> object:
        if isinstance(question, Call):
            return await self._call(question, self._run, f"state_{number}", database)
        return _rows(database, number, question)

    async def _call(self, call: Call, run: str, step: str, database: Database) -> object:
        context = SkillContext(
            run=run,
            step=step,
            key=f"{run}/{step}",
            now=datetime.now(UTC),
            database=database,
            workspace=self.folder,
            settings=self.settings,
            documents=documents_of(self.settings, shared=readable(self.site, self.folder)),
        )
        return await call_skill(get_skill(call.skill, self.site), call.arguments, context)

    def close(self) -> None:
        """Drop the database that runs begin with, and those that runs were played in, whoever left them."""
        with psycopg.connect(self.server, autocommit=True) as connection:
            left = connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (self._mine,)
            ).fetchall()
        for (name,) in [*left, (BASE,)]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _dsn(self, database: str) -> str:
        return psycopg.conninfo.make_conninfo(self.server, dbname=database)

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(statement)


def _rows(database: Database, number: int, query: str) -> list[Any]:
    try:
        with database.connection() as connection:
            # The query is run as it is written, because its author is the author of the automation and its tables.
            return connection.execute(query).fetchall()
    except psycopg.Error as error:
        said = str(error).partition("\n")[0]
        raise MusterError(f"Query {number} of `state` cannot be answered: {said}.", remedy=query) from error


@contextmanager
def own_server() -> Iterator[tuple[str, Path]]:
    """A server that lives as long as the rehearsal, or the one MUSTER_REHEARSAL_SERVER names: its DSN, and a folder.

    Raises:
        MusterError: another rehearsal is under way on the named server.
    """
    with tempfile.TemporaryDirectory(prefix=FOLDER, dir="/tmp") as name, _marked(Path(name)):
        folder = Path(name)
        folder.chmod(0o755)
        if named := os.environ.get(SERVER):
            with _alone_on(named):
                yield named, folder / "files"
            return
        # Without `fsync`: a rehearsal makes and drops a database for each scenario, and spent most of its time waiting
        # for the disk. Nobody wants the server again after a power failure.
        server = PostgresServer(folder / "data", port=free_port(), password=secrets.token_hex(8), lasting=False)
        server.start()
        try:
            yield server.dsn(), folder / "files"
        finally:
            server.stop()


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """Hold a lock in the folder while this process lives, and remove the folders of rehearsals that were killed."""
    # Locked before it has its name: one that has the name and no lock is nobody's.
    with (folder / "new").open("w") as file:
        flock(file, LOCK_EX)
        (folder / "new").rename(folder / "lock")
        for lock in folder.parent.glob(f"{FOLDER}*/lock"):
            with suppress(OSError), lock.open("r") as other:
                flock(other, LOCK_EX | LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        yield


@contextmanager
def _alone_on(server: str) -> Iterator[None]:
    """Keep other rehearsals off a server, and drop databases that a killed one left there."""
    # Two rehearsals on one server would both use the database `BASE`. The lock belongs to this connection, so a
    # rehearsal that is killed releases it; its databases are left, and nobody else can be using them.
    with psycopg.connect(server, autocommit=True) as connection:
        free = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (BASE,)).fetchone()
        if not free or not free[0]:
            raise MusterError(
                f"Another rehearsal is under way on the server of {SERVER}.", remedy="Wait until it has ended."
            )
        left = connection.execute(
            r"SELECT datname FROM pg_database WHERE datname = %s OR datname ~ %s", (BASE, f"^{RUN}[0-9a-f]{{12}}$")
        ).fetchall()
        for (name,) in left:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        yield
