"""One statement by which a process says that it lives: on a connection of its own, never waited for without a limit."""

from __future__ import annotations

import math
import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

import psycopg

from muster.database import network_limits


def say(dsn: str, sql: str, values: Mapping[str, object], seconds: float) -> list[tuple[Any, ...]]:
    """The rows that the statement gives back.

    A connection of its own, because the work that takes so long may hold all of the pool's. It is cut when the answer
    takes longer than `seconds`: a network may confirm what it swallows, which no setting of TCP finds out.

    Raises:
        psycopg.Error: it was not done, or nobody knows.
    """
    options: dict[str, Any] = {**network_limits(dsn), "connect_timeout": max(2, math.ceil(seconds))}
    with psycopg.connect(dsn, autocommit=True, **options) as connection:
        limit = threading.Timer(seconds, _cut, [connection.fileno()])
        limit.start()
        try:
            # In one round trip, which is one transaction: the limit is the statement's only, and no session's.
            with connection.pipeline():
                connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds * 1000:.0f}ms"])
                cursor = connection.execute(sql, values)
            return cursor.fetchall()
        finally:
            limit.cancel()
            # Before the connection is closed: a timer that fires after that would cut whatever has been opened since
            # under the same number.
            limit.join()


def _cut(number: int) -> None:
    # A duplicate, because closing this socket would close the number that libpq goes on using. A shutdown reaches both.
    with socket.socket(fileno=os.dup(number)) as same:
        same.shutdown(socket.SHUT_RDWR)
