"""Puts a database back to what it was between two scenarios, which costs less than making one and connecting to it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow

from muster.errors import MusterError

MOST = 4 * 2**20
"""Bytes of rows that are kept to be put back. Where a script prepares more, a database is made for each scenario."""

_TABLES = """
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname),
       (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''),
       pg_relation_size(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.oid >= 16384 ORDER BY c.oid
"""
_SEQUENCES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND c.oid >= 16384 ORDER BY c.oid
"""
_REFERENCES = "SELECT conrelid::bigint, confrelid::bigint FROM pg_constraint WHERE contype = 'f' AND oid >= 16384"
_OF_OTHER_KINDS = """
SELECT EXISTS (SELECT FROM pg_class WHERE oid >= 16384 AND relkind NOT IN ('r', 'i', 'S', 'v', 't', 'c'))
    OR EXISTS (SELECT FROM pg_inherits)
"""
# Whatever is created, altered or dropped writes a row in one of these under a newer transaction, or takes one away.
_CATALOGS = {
    "pg_class": "oid >= 16384",
    "pg_attribute": "attrelid >= 16384",
    "pg_attrdef": "oid >= 16384",
    "pg_constraint": "oid >= 16384",
    "pg_trigger": "oid >= 16384",
    "pg_rewrite": "oid >= 16384",
    "pg_index": "indexrelid >= 16384",
    "pg_policy": "true",
    "pg_namespace": "true",
    "pg_proc": "oid >= 16384",
    "pg_type": "oid >= 16384",
    "pg_enum": "oid >= 16384",
    "pg_extension": "true",
    "pg_event_trigger": "true",
    "pg_default_acl": "true",
    "pg_largeobject_metadata": "true",
    "pg_statistic_ext": "true",
    "pg_publication": "true",
    "pg_db_role_setting": "true",
}
# No trigger is asked: some refuse what is done here, and others would do more.
_SESSION = "SET lock_timeout = '2s'; SET session_replication_role = replica"
_IS_LOCKED = """
SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
                WHERE d.datname = current_database() AND pid <> pg_backend_pid())
"""


class NotRestorable(MusterError):
    """Rows cannot be put back here: there is too much, or something that is more than rows, or the role may not."""


class Restoration:
    """What a database held at one moment, and how it comes back to that."""

    def __init__(self, connection: Connection[TupleRow]) -> None:
        """Look at the database of a connection in autocommit, which nobody else uses.

        Raises:
            NotRestorable: make a database for each scenario instead.
        """
        self._connection = connection
        """The one that is worked on at the moment."""
        self._rows: dict[int, bytes] = {}
        try:
            self._run(_SESSION)
            if self._ask(_OF_OTHER_KINDS)[0][0]:
                raise NotRestorable("There is more than tables, indexes, sequences and views.")
            tables = self._ask(_TABLES)
            self._names: dict[int, str] = {oid: name for oid, name, _, _ in tables}
            self._columns: dict[int, str] = {oid: columns or "" for oid, _, columns, _ in tables}
            self._references: list[tuple[int, int]] = [(child, parent) for child, parent in self._ask(_REFERENCES)]
            for oid, _, _, size in tables:
                if size:
                    self._keep(oid)
            # The first run finds what all others will, down to what PostgreSQL knows of the tables when it makes plans.
            self._refill(list(self._names))
            self._sequences = [name for (name,) in self._ask(_SEQUENCES)]
            self._values = self._sequence_values()
            self._schema, self._marks = self._schema_mark(), self._row_marks()
        except psycopg.Error as error:
            raise NotRestorable(str(error)) from error

    def put_back(self, connection: Connection[TupleRow] | None = None) -> bool:
        """Put back all rows; False when that cannot be done, and somebody should make a new database.

        Args:
            connection: Another one to the same database, if the one before was closed.
        """
        # One that is at work still, or was left in a transaction, may write after this.
        with suppress(psycopg.Error):
            if connection is not None:
                self._connection = connection
                self._run(_SESSION)
            if self._schema != self._schema_mark() or self._ask(_IS_LOCKED)[0][0]:
                return False
            self._refill(self._written())
            for name, before, now in zip(self._sequences, self._values, self._sequence_values(), strict=True):
                if before != now:
                    self._connection.execute("SELECT setval(%s::regclass, %s, %s)", (name, *before))
            self._schema, self._marks = self._schema_mark(), self._row_marks()
            return True
        return False

    def _refill(self, tables: list[int]) -> None:
        """Have tables hold their kept rows and nothing else, in their old order."""
        self._empty(tables)
        for oid in tables:
            if oid in self._rows:
                self._fill(oid)

    def _empty(self, tables: list[int]) -> None:
        if not tables:
            return
        names = [self._names[oid] for oid in tables]
        # Vacuumed, a table has no page left. Else rows that come later would stand where these were, in another order.
        # TRUNCATE makes new files for every table and index instead, which takes four times as long.
        self._run("; ".join(f"DELETE FROM {name}" for name in names))
        self._run(f"VACUUM {', '.join(names)}")
        sizes = self._sizes()
        # Some rows are not to be seen by this role, or by a rule of their table not to be deleted.
        if any(sizes[oid] for oid in tables):
            self._run(f"TRUNCATE {', '.join(names)}")

    def _written(self) -> list[int]:
        """The tables that are not as they were, with all that refer to them: PostgreSQL truncates them together."""
        now, sizes = self._row_marks(), self._sizes()
        # A table that was empty has no page until the first row is written, also one that is rolled back.
        written = {oid for oid in self._names if (now[oid] != self._marks[oid] if oid in self._rows else sizes[oid])}
        while more := {child for child, parent in self._references if parent in written} - written:
            written |= more
        return sorted(written)

    def _sizes(self) -> dict[int, int]:
        return {oid: size for oid, _, _, size in self._ask(_TABLES)}

    def _keep(self, oid: int) -> None:
        with self._connection.cursor() as cursor, cursor.copy(self._copy(oid, "TO STDOUT")) as copy:
            self._rows[oid] = b"".join(bytes(block) for block in copy)
        if sum(map(len, self._rows.values())) > MOST:
            raise NotRestorable("There are too many rows.")

    def _fill(self, oid: int) -> None:
        with self._connection.cursor() as cursor, cursor.copy(self._copy(oid, "FROM STDIN")) as copy:
            copy.write(self._rows[oid])

    def _copy(self, oid: int, how: str) -> bytes:
        return f"COPY {self._names[oid]} ({self._columns[oid]}) {how}".encode()

    def _row_marks(self) -> dict[int, tuple[Any, ...]]:
        # A new row and a new version have a newer `xmin`; one that is gone is missing from the count.
        parts = [
            f"SELECT {oid}::bigint, count(*), max(xmin::text::bigint) FROM {self._names[oid]}" for oid in self._rows
        ]
        return {row[0]: row[1:] for row in self._ask(" UNION ALL ".join(parts))} if parts else {}

    def _schema_mark(self) -> tuple[Any, ...]:
        parts = [
            f"(SELECT (count(*), max(xmin::text::bigint))::text FROM {catalog} WHERE {which})"
            for catalog, which in _CATALOGS.items()
        ]
        return tuple(self._ask("SELECT " + ", ".join(parts))[0])

    def _sequence_values(self) -> list[tuple[Any, ...]]:
        parts = [f"SELECT {number}, last_value, is_called FROM {name}" for number, name in enumerate(self._sequences)]
        return [row[1:] for row in self._ask(" UNION ALL ".join(parts) + " ORDER BY 1")] if parts else []

    def _ask(self, query: str) -> list[TupleRow]:
        return self._connection.execute(query.encode()).fetchall()

    def _run(self, statement: str) -> None:
        self._connection.execute(statement.encode())
