"""Rows of the table `events` as `Event` values: the one place where stored events are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC
from sys import intern
from typing import Any

from muster.events import statements
from muster.events.driver import Work
from muster.events.facts import parse
from muster.events.model import Event
from muster.events.objects import attach, by_name, references
from muster.events.tampering import no_data, tampered
from muster.events.upcasting import UPCASTERS


def to_event(row: Sequence[Any]) -> Event:
    """One row of `statements.COLUMNS` as an event in today's shape, its large values left as references."""
    return _event(row, *UPCASTERS.today(row[6], parse(row[12])))


def as_stored(row: Sequence[Any]) -> Event:
    """One row of `statements.COLUMNS` as it was written, however old its shape is."""
    return _event(row, row[6], parse(row[12]))


def _event(row: Sequence[Any], type: str, data: Any) -> Event:
    position, stream, version, id, at, causation, _, key, actor, correlation, previous, own = row[:12]
    # Shared, because thousands of events of a run are in memory at once, and the driver makes a text for each row.
    type, actor, stream, correlation = map(intern, (type, actor, stream, correlation))
    return Event(
        type=type,
        data=data,
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


def to_events(rows: Iterable[Sequence[object]]) -> Work[list[Event]]:
    """Rows as events with their large values.

    Raises:
        TamperedLog: one of them is no event any more.
    """
    return (yield from resolve([_insist_on_data(to_event(row)) for row in rows]))


def _insist_on_data(event: Event) -> Event:
    # Refused here, because everything that reads a run looks into its events' data, and takes it for a mapping.
    if not isinstance(event.data, dict):
        raise tampered(event.stream, no_data(event.version))
    return event


def resolve(events: Sequence[Event]) -> Work[list[Event]]:
    """Events with their large values, fetched with one statement when there are any."""
    names = [references(event.data) for event in events]
    wanted = set().union(*names)
    if not wanted:
        return list(events)
    answers = yield [statements.objects(wanted)]
    contents = by_name(answers[0])
    return [
        replace(event, data=attach(event.data, contents)) if needed else event
        for event, needed in zip(events, names, strict=True)
    ]
