"""Rows of the table `events` as `Event` values: the one place where stored events are read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

from muster.events import statements
from muster.events.driver import Work
from muster.events.model import Event
from muster.events.objects import attach, by_name, references


def to_event(row: Sequence[Any]) -> Event:
    """One row of `statements.COLUMNS` as an event, its large values left as references."""
    position, stream, version, id, at, causation, type, key, actor, correlation, previous, own, data = row[:13]
    return Event(
        type=type,
        data=json.loads(data),
        actor=actor,
        key=key,
        causation=causation,
        position=position,
        stream=stream,
        version=version,
        id=id,
        at=at.astimezone(UTC),
        correlation=correlation,
        previous_hash=previous,
        hash=own,
    )


def to_events(rows: Iterable[Sequence[Any]]) -> Work[list[Event]]:
    """Rows as events with their large values."""
    return (yield from resolve([to_event(row) for row in rows]))


def resolve(events: Sequence[Event]) -> Work[list[Event]]:
    """Events with their large values, fetched with one statement when there are any."""
    names = [references(event.data) for event in events]
    wanted = set().union(*names)
    if not wanted:
        return list(events)
    found = yield [statements.objects(wanted)]
    contents = by_name(found[0])
    return [
        replace(event, data=attach(event.data, contents)) if needed else event
        for event, needed in zip(events, names, strict=True)
    ]
