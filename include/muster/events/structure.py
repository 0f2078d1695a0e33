"""What of an event says nothing about a person: the structure of a run, which is stored as it is.

Everything that is not named here is sealed in a run that is about somebody, so that a new event, a new field or a
new error text is safe before anybody has thought of it. Named are positions, counts, times, states, hashes, names
that an author wrote into the YAML, and who acted: who approved, cancelled or asked is the audit of the people who
work with Muster, and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from muster.events.model import EventType as T

Seal = Callable[[Any], Any]
"""Gives the sealed form of a value."""

EVERYWHERE = frozenset({"step", "index", "epoch", "work_epoch", "attempt"})
"""Fields of every type of event."""

FIELDS: Mapping[str, frozenset[str]] = {
    T.RUN_OPENED: frozenset(
        {"automation", "definition", "bundle_version", "trigger", "requested_by", "dag_id", "dag_run_id", "started"}
        | {"parent", "subject"}
    ),
    T.RUN_BEGUN: frozenset({"started", "stands", "undone_with"}),
    T.RUN_CONTINUED: frozenset({"number", "stands"}),
    T.RUN_UNDO_REQUESTED: frozenset({"reason", "parent", "told", "by_hand"}),
    T.RUN_STUCK: frozenset({"irreversible"}),
    T.RUN_RESUMED: frozenset({"by_hand", "token"}),
    T.RUN_RESTARTED: frozenset({"from", "also", "again"}),
    T.DEAD_LETTER_REDRIVEN: frozenset({"pieces", "again"}),
    T.DEAD_LETTER_DISCARDED: frozenset({"pieces", "whole"}),
    # Worked out from the sealed form of the run, so its reasons repeat nothing that is sealed.
    T.SAGA_UNWINDING: frozenset({"reason", "pieces"}),
    T.RUN_CLOSED: frozenset({"status", "reason", "counts", "cost", "reconciled"}),
    T.COMPENSATION_RETRIED: frozenset({"delay", "class"}),
    T.COMPENSATION_SUCCEEDED: frozenset({"by_hand"}),
    T.STEP_EXPANDED: frozenset({"length", "indices", "again"}),
    T.STEP_STARTED: frozenset({"kind", "lane", "begins"}),
    T.CHILD_REQUESTED: frozenset({"child", "automation", "proof"}),
    T.STEP_RETRIED: frozenset({"delay", "class", "mark"}),
    T.STEP_SUCCEEDED: frozenset({"output_type", "produced_by", "fallback"}),
    T.STEP_COMPLETED: frozenset({"counts"}),
    T.MODEL_CALLED: frozenset({"agent", "tier", "model", "request", "usage", "cost"}),
    T.TOOL_CALLED: frozenset({"agent", "tool"}),
    T.APPROVAL_REQUESTED: frozenset({"assignees", "within", "otherwise", "asked_at", "remind", "levels", "approvals"}),
    T.APPROVAL_REMINDED: frozenset({"after", "people"}),
    T.APPROVAL_ESCALATED: frozenset({"after", "people", "to"}),
    T.APPROVAL_GRANTED: frozenset({"by", "by_id", "needed"}),
    T.APPROVAL_REFUSED: frozenset({"by", "by_id", "approved", "why"}),
    T.APPROVAL_ANSWERED: frozenset({"approved", "by", "by_id", "answer", "how", "at", "approvers", "kept"}),
    T.NOTICE_SENT: frozenset({"channel", "delivered_by"}),
}
"""Fields of one type of event that are stored as they are."""

SKIPPED = frozenset(
    {"when", "rejected", "not_taken", "empty", "upstream_failed", "cancelled", "unwinding", "not_listed", "not_asked"}
)
"""Reasons of a skipped step that are Muster's own words."""


def seal_data(type: str, data: Mapping[str, Any], seal: Seal) -> dict[str, Any]:
    """An event's data with everything sealed but its structure: what of an `output` is, its kind of step says."""
    plain = EVERYWHERE | FIELDS.get(type, frozenset())
    return {name: value if name in plain else _sealed(name, value, seal) for name, value in data.items()}


def _sealed(name: str, value: Any, seal: Seal) -> Any:
    if name == "output":
        return value
    if name == "reason" and isinstance(value, str) and value in SKIPPED:
        return value
    if name == "error" and isinstance(value, Mapping):
        # The name of a class is a program's; what it says may repeat anything.
        return {inner: what if inner == "class" else seal(what) for inner, what in value.items()}
    if name == "inputs" and isinstance(value, Mapping):
        # By name, so that an expression finds each of them, or that it is forgotten.
        return {inner: seal(what) for inner, what in value.items()}
    if name == "findings" and isinstance(value, list):
        return [seal(finding) for finding in value]
    return seal(value)
