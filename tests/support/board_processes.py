"""Processes that write to one board: in a module that a spawned process finds."""

from __future__ import annotations

import psycopg

from coordination.blackboard.conftest import KEYS, RUN
from muster.coordination.blackboard import Board, Rights, Writer
from muster.database import Database

EACH = 25
MAY = Rights(reads=frozenset(KEYS.known), writes=frozenset(KEYS.known))


def count(dsn: str, number: int) -> None:
    """Count up, and note each in a field of one's own."""
    board = Board(Database(dsn, max_size=2), RUN, KEYS, MAY, Writer(name=f"p{number}"))
    for step in range(EACH):
        board.update("count", lambda before: (before or 0) + 1)
        board.merge("facts", {f"p{number}": step})


def write_for_ever(dsn: str) -> None:
    """Both in one transaction, again and again."""
    database = Database(dsn, max_size=2)
    board, step = Board(database, RUN, KEYS, MAY, Writer(name="killed")), 0
    while True:
        step += 1
        with database.connection() as connection:
            board.put("count", step, within=connection)
            board.put("note", step, within=connection)


def put_without_a_bell(dsn: str) -> None:
    """As a process that dies between its commit and the bell."""
    with psycopg.connect(dsn) as connection:
        rights = Rights(writes=frozenset({"note"}))
        Board(Database(dsn), RUN, KEYS, rights, Writer(name="killed")).put("note", 1, within=connection)
