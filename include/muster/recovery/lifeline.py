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

    A connection of its own, because those of the pool may all be with what takes so long. It is cut when the answer
    takes longer than `seconds`: a network that swallows what is sent says nothing, and no setting of TCP finds it out
    where something in between confirms what it has swallowed.

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
            # Before the connection is closed: its number may be another's then.
            limit.join()


def _cut(number: int) -> None:
    with socket.socket(fileno=os.dup(number)) as same:
        same.shutdown(socket.SHUT_RDWR)
