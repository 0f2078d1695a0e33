"""Boards of one run and of one goal."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import BaseModel

from muster.coordination.blackboard import Board, Key, Keys, Rights, Writer
from muster.database import Database

RUN = "team/run"


class Plan(BaseModel):
    """What is to be done."""

    goal: str
    days: int


KEYS = Keys(
    {
        "facts": Key({"type": "object"}),
        "count": Key({"type": "integer"}),
        "plan": Key(Plan),
        "note": Key(),
        "lessons": Key({"type": "array", "items": {"type": "string"}}, of_goal=True),
    }
)
ALL = frozenset(KEYS.known)
Open = Callable[..., Board]


@pytest.fixture
def open_board(database: Database) -> Open:
    """Boards of whoever is named; everybody may do everything unless it is said otherwise."""

    def opened(name: str = "clerk", *, run: str = RUN, goal: str | None = "growth", **more: object) -> Board:
        rights = Rights(reads=more.pop("reads", ALL), writes=more.pop("writes", ALL), where=f"step `{name}`")  # type: ignore[arg-type]
        on = more.pop("database", database)
        return Board(on, run, KEYS, rights, Writer(name=name, **more), goal=goal)  # type: ignore[arg-type]

    return opened
