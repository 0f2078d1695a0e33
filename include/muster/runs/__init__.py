"""A run as a whole: opened with its inputs, asked for by another run, and followed to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.faces import face

if TYPE_CHECKING:
    from muster.runs.children import Child, ask_for, settle
    from muster.runs.following import follow
    from muster.runs.opening import Opening, open_run
    from muster.runs.punctuality import ended_by

__all__ = [
    "Child",
    "Opening",
    "ask_for",
    "ended_by",
    "follow",
    "open_run",
    "settle",
]

__getattr__ = face(
    __name__,
    {
        "Child": "children",
        "Opening": "opening",
        "ask_for": "children",
        "ended_by": "punctuality",
        "follow": "following",
        "open_run": "opening",
        "settle": "children",
    },
)
