"""Where an automation is rehearsed: a PostgreSQL server of its own, and a fresh database for every run."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from muster.database import Database
from muster.documents import documents_of
from muster.errors import MusterError
from muster.language.definition import Definition
from muster.local.postgres import PostgresServer, free_port
from muster.migrations import migrate
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
"""Prefix of the names of databases of single runs."""


@dataclass
class Stage:
    """A server with one database prepared as the script says; every run gets a copy of it."""

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
    _current: str | None = None
    _run: str = BEGINNING

    async def prepare(self, script: Script, settings: dict[str, object]) -> None:
        """Make the database of which every run gets a copy, and call what the script prepares."""
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
        """One run in a database of its own, which is dropped afterwards."""
        name = f"{RUN}{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {BASE}")
        database = Database(self._dsn(name))
        self._current = name
        try:
            playing = Playing(definition, case, database, self.folder / name, self.site, faults, self.others)
            self._run = playing.run
            yield playing
        finally:
            await database.aclose()
            self._current, self._run = None, BEGINNING
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def state(self) -> list[object]:
        """The answers to the script's questions, about the run that is played, else about the beginning."""
        database = Database(self._dsn(self._current or BASE), max_size=1)
        try:
            return [await self._answer(question, number, database) for number, question in enumerate(self.questions, 1)]
        finally:
            await database.aclose()

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
        """Drop the database that runs begin with."""
        self._execute(f"DROP DATABASE IF EXISTS {BASE} WITH (FORCE)")

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
    with tempfile.TemporaryDirectory(prefix="muster-rehearsal-", dir="/tmp") as name:
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
