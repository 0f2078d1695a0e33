"""Conflicts between agents: predicted before work starts, detected after it, resolved by rules or handed on."""

from __future__ import annotations

from muster.coordination.conflicts.detecting import Changes, detect_conflicts
from muster.coordination.conflicts.model import (
    Conflict,
    ConflictKind,
    Decider,
    HandedOn,
    Resolution,
    ResolutionContext,
    Resolved,
    Side,
)
from muster.coordination.conflicts.prediction import PredictedConflict, TaskTouches, predict_conflicts
from muster.coordination.conflicts.resolving import resolve
from muster.coordination.conflicts.rule import ConflictRule
from muster.coordination.conflicts.settings import ConflictSettings

__all__ = [
    "Changes",
    "Conflict",
    "ConflictKind",
    "ConflictRule",
    "ConflictSettings",
    "Decider",
    "HandedOn",
    "PredictedConflict",
    "Resolution",
    "ResolutionContext",
    "Resolved",
    "Side",
    "TaskTouches",
    "detect_conflicts",
    "predict_conflicts",
    "resolve",
]
