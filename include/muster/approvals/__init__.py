"""Asks people and takes their answers: before Airflow knows of them, and each counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.faces import face

if TYPE_CHECKING:
    from muster.approvals.asking import Request, look
    from muster.approvals.decisions import Decision, Reply, respond, take_reply
    from muster.approvals.kept_answers import ask

__all__ = [
    "Decision",
    "Reply",
    "Request",
    "ask",
    "look",
    "respond",
    "take_reply",
]

__getattr__ = face(
    __name__,
    {
        "Decision": "decisions",
        "Reply": "decisions",
        "Request": "asking",
        "ask": "kept_answers",
        "look": "asking",
        "respond": "decisions",
        "take_reply": "decisions",
    },
)
