"""The fields of an event that say nothing about a person: the structure of a run, which is stored as it is.

Every field that is not `plain` in `muster.events.payloads` is sealed in a run that is about somebody, so that a new
event, a new field or a new error text is safe before anybody has thought of it. Plain are positions, counts, times,
states, hashes, names that an author wrote into the YAML, and who acted: who approved, cancelled or asked is the audit
of the people who work with Muster, and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from muster.events.payloads.base import PAYLOADS

Seal = Callable[[object], object]
"""Gives the sealed form of a value."""

EVERYWHERE = frozenset({"step", "index", "epoch", "work_epoch", "attempt"})
"""Fields of every type of event, also of one that is not known here."""

FIELDS: Mapping[str, frozenset[str]] = {type: payload.plain_fields() for type, payload in PAYLOADS.items()}
"""Fields of one type of event that are stored as they are."""

SKIPPED = frozenset(
    {
        "when",
        "rejected",
        "not_taken",
        "empty",
        "upstream_failed",
        "cancelled",
        "unwinding",
        "not_listed",
        "not_asked",
        "item_failed",
    }
)
"""Reasons of a skipped step that are Muster's own words."""


def seal_data(type: str, data: Mapping[str, object], seal: Seal) -> dict[str, object]:
    """An event's data with everything sealed but its structure; an `output` is left to its kind of step."""
    plain = EVERYWHERE | FIELDS.get(type, frozenset())
    return {name: value if name in plain else _sealed(name, value, seal) for name, value in data.items()}


def _sealed(name: str, value: object, seal: Seal) -> object:
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
