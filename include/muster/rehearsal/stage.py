"""Where an automation is rehearsed: a PostgreSQL server of its own, and a fresh database for every run."""

from __future__ import annotations

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
from muster.errors import MusterError
from muster.language.definition import Definition
from muster.local.postgres import PostgresServer, free_port
from muster.migrations import migrate
from muster.rehearsal.faults import NONE, Faults
from muster.rehearsal.playing import Playing
from muster.rehearsal.script import Case, Script
from muster.skills.calling import call_skill
from muster.skills.registry import SkillContext, get_skill

BASE = "muster_rehearsal"


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
    queries: Sequence[str] = ()
    """What matters outside the log."""
    _current: str | None = None

    async def prepare(self, script: Script, settings: dict[str, Any]) -> None:
        """Make the database that runs begin with."""
        self.queries = script.state
        self._execute(f"CREATE DATABASE {BASE}")
        migrate(self._dsn(BASE))
        database = Database(self._dsn(BASE))
        try:
            for number, step in enumerate(script.prepare):
                context = SkillContext(
                    run="rehearsal/prepare",
                    step=f"prepare_{number}",
                    key=f"rehearsal/prepare/{number}",
                    now=datetime.now(UTC),
                    database=database,
                    workspace=self.folder,
                    settings=settings,
                )
                await call_skill(get_skill(step.skill, self.site), step.arguments, context)
        finally:
            await database.aclose()

    @asynccontextmanager
    async def playing(self, definition: Definition, case: Case, faults: Faults = NONE) -> AsyncIterator[Playing]:
        """One run in a database of its own, which is gone afterwards."""
        name = f"rehearsal_{secrets.token_hex(6)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {BASE}")
        database = Database(self._dsn(name))
        self._current = name
        try:
            yield Playing(definition, case, database, self.folder / name, self.site, faults, self.others)
        finally:
            await database.aclose()
            self._current = None
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def state(self) -> list[Any]:
        """The answers to the script's queries, in the database of the run that is played, else at the beginning."""
        with psycopg.connect(self._dsn(self._current or BASE)) as connection:
            return [_answer(connection, number, query) for number, query in enumerate(self.queries, 1)]

    def close(self) -> None:
        """Drop the database that runs begin with."""
        self._execute(f"DROP DATABASE IF EXISTS {BASE} WITH (FORCE)")

    def _dsn(self, database: str) -> str:
        return psycopg.conninfo.make_conninfo(self.server, dbname=database)

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(statement)


def _answer(connection: psycopg.Connection[Any], number: int, query: str) -> list[Any]:
    try:
        # The author's own words about the author's own tables.
        return connection.execute(query).fetchall()
    except psycopg.Error as error:
        said = str(error).partition("\n")[0]
        raise MusterError(f"Query {number} of `state` cannot be answered: {said}.", remedy=query) from error


@contextmanager
def own_server() -> Iterator[tuple[str, Path]]:
    """A server that lives as long as the rehearsal: its DSN, and a folder for files."""
    with tempfile.TemporaryDirectory(prefix="muster-rehearsal-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = PostgresServer(folder / "data", port=free_port(), password=secrets.token_hex(8))
        server.start()
        try:
            yield server.dsn(), folder / "files"
        finally:
            server.stop()
