"""Waiting for what happens in another process, or having it wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg


def eventually(promise: Callable[[], bool], patience: float = 30.0) -> bool:
    """True as soon as `promise` holds, False when it does not within `patience` seconds."""
    deadline = time.monotonic() + patience
    while not promise():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def in_turn(dsn: str, run: str, *works: Callable[[], Any]) -> list[Any]:
    """What they come to when each has read the run's log before any has written to it; they write in this order.

    Each has a database of its own, and is held at its first append.
    """
    waiting = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
    )
    with ThreadPoolExecutor(len(works)) as pool, psycopg.connect(dsn) as holder:
        hold(holder, run)
        done = []
        for number, work in enumerate(works, 1):
            done.append(pool.submit(work))
            assert eventually(lambda n=number: holder.execute(waiting).fetchone() == (n,))  # type: ignore[misc]
        holder.rollback()
        return [each.result(60) for each in done]


def hold(connection: psycopg.Connection[Any], run: str) -> None:
    """Keep whoever appends to a run's log waiting until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [run])
