"""Asks people and takes their answers: before Airflow knows of them, and each counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.faces import face

if TYPE_CHECKING:
    from muster.approvals.approval_reuse import ask
    from muster.approvals.asking import Request, look
    from muster.approvals.decisions import Decision, Reply, respond, take_reply

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
        "ask": "approval_reuse",
        "look": "asking",
        "respond": "decisions",
        "take_reply": "decisions",
    },
)
