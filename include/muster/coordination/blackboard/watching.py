"""What is watched on a blackboard: a place at which all that wait are woken by one bell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import psycopg

from muster.coordination.blackboard import statements
from muster.coordination.messages.waking import Place, key_of


class Watched(NamedTuple):
    """A key of a board, and the version that was seen last."""

    board: str
    name: str
    seen: int

    @property
    def key(self) -> str:
        """What a notification says for it."""
        return key_of("board", self.board, self.name)

    @property
    def is_for_all(self) -> bool:
        """True: all that watch see what has changed."""
        return True

    @classmethod
    def due(cls, connection: psycopg.Connection, places: Sequence[Watched]) -> list[Place]:
        """The keys of which there is a later version."""
        values = {
            "boards": [each.board for each in places],
            "keys": [each.name for each in places],
            "versions": [each.seen for each in places],
        }
        return [places[place - 1] for (place,) in connection.execute(statements.DUE, values).fetchall()]
