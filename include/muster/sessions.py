"""Connections that know when the server has forgotten what was prepared on them."""

from __future__ import annotations

from psycopg import AsyncConnection, BaseConnection, Connection
from psycopg.abc import PQGen
from psycopg.rows import TupleRow


class _Forgetting(BaseConnection[TupleRow]):
    """Counts how often the server was told to forget all that was prepared.

    The driver tells it after a ROLLBACK, DROP or ALTER. What others have prepared on the connection is gone as well.
    """

    forgot = 0

    def _deallocate(self, name: bytes | None) -> PQGen[None]:
        if name is None:
            self.forgot += 1
        return super()._deallocate(name)


class Session(_Forgetting, Connection[TupleRow]):
    """A connection of a pool."""


class AsyncSession(_Forgetting, AsyncConnection[TupleRow]):
    """The same for coroutines."""
