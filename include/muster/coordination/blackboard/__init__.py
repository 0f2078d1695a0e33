"""The blackboard: what those who work on a run, or on a goal, know together; nobody overwrites another unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.faces import face

if TYPE_CHECKING:
    from muster.coordination.blackboard.board import Board
    from muster.coordination.blackboard.keys import Key, Keys
    from muster.coordination.blackboard.model import BoardConflict, BoardRefused, Entry, Rights, Writer
    from muster.coordination.blackboard.relevance import Shown, most_relevant
    from muster.coordination.blackboard.withdrawing import withdraw

__all__ = [
    "Board",
    "BoardConflict",
    "BoardRefused",
    "Entry",
    "Key",
    "Keys",
    "Rights",
    "Shown",
    "Writer",
    "most_relevant",
    "withdraw",
]

__getattr__ = face(
    __name__,
    {
        "Board": "board",
        "BoardConflict": "model",
        "BoardRefused": "model",
        "Entry": "model",
        "Key": "keys",
        "Keys": "keys",
        "Rights": "model",
        "Shown": "relevance",
        "Writer": "model",
        "most_relevant": "relevance",
        "withdraw": "withdrawing",
    },
)
