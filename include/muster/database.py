"""One PostgreSQL database, reached through pooled psycopg 3 connections, sync and async."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool


class Database:
    """Lazily opened pools for one DSN: safe to keep across a fork and across event loops.

    A forked child and a new event loop each get pools of their own, because neither may share
    a socket or a lock with the parent.
    """

    def __init__(self, dsn: str, *, max_size: int = 4, timeout: float = 30.0) -> None:
        self.dsn = dsn
        """A libpq URI or keyword string; never logged."""
        self._max_size = max_size
        self._timeout = timeout
        self._sync: tuple[int, ConnectionPool[Connection[TupleRow]]] | None = None
        self._async: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, AsyncConnectionPool[AsyncConnection[TupleRow]]
        ] = weakref.WeakKeyDictionary()
        self._async_pid = os.getpid()

    @contextmanager
    def connection(self) -> Iterator[Connection[TupleRow]]:
        """A connection in a transaction: committed on success, rolled back on an exception."""
        with self._sync_pool().connection() as connection:
            yield connection

    @asynccontextmanager
    async def aconnection(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """The same for coroutines."""
        pool = await self._async_pool()
        async with pool.connection() as connection:
            yield connection

    def close(self) -> None:
        """Close this process's sync pool."""
        if self._sync is not None and self._sync[0] == os.getpid():
            self._sync[1].close()
        self._sync = None

    async def aclose(self) -> None:
        """Close the running loop's pool, and the sync one."""
        pool = self._async.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()
        self.close()

    def _sync_pool(self) -> ConnectionPool[Connection[TupleRow]]:
        if self._sync is None or self._sync[0] != os.getpid():
            self._sync = (os.getpid(), ConnectionPool(self.dsn, open=True, **self._pool_options()))
        return self._sync[1]

    async def _async_pool(self) -> AsyncConnectionPool[AsyncConnection[TupleRow]]:
        if self._async_pid != os.getpid():
            self._async, self._async_pid = weakref.WeakKeyDictionary(), os.getpid()
        loop = asyncio.get_running_loop()
        pool = self._async.get(loop)
        if pool is None:
            pool = AsyncConnectionPool(self.dsn, open=False, **self._pool_options())
            self._async[loop] = pool
            await pool.open()
        return pool

    def _pool_options(self) -> dict[str, Any]:
        return {"min_size": 0, "max_size": self._max_size, "timeout": self._timeout, "name": "muster"}
