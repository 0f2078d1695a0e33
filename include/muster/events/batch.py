"""Plans the rows of an append: pure functions from a stream's head and requests to rows and results."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from muster.errors import ConcurrencyError, MusterError, PermanentError
from muster.events.canonical import GENESIS, event_hash, instant
from muster.events.facts import Fact
from muster.events.model import Event, NewEvent
from muster.events.objects import StoredObject, detach
from muster.events.upcasting import UPCASTERS
from muster.redaction import may_hold_secrets, redact_data


class Head(NamedTuple):
    """The last event of a stream."""

    version: int
    hash: str


EMPTY = Head(0, GENESIS)
"""The head of a stream without events."""

_HEADS_KEPT = 10_000


class Heads:
    """Where streams stood when this process last looked: guesses that save an append a round trip.

    If a stream has grown since, the append shows it and costs a round trip more. A stream can only be shorter (another
    server took over and lacks the last events) after connections were lost: so what was seen before the latest session
    began is not believed.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Head, int]] = {}
        """With how many sessions there had been by then."""

    def take(self, stream: str, sessions: int | None) -> Head | None:
        """Forget and return a stream's head, if it was seen in this session; None stands for no session."""
        head, seen = self._seen.pop(stream, (None, -1))
        return head if seen == sessions else None

    def remember(self, stream: str, head: Head, sessions: int) -> None:
        """Where a stream stood in this session; something newer may be known already."""
        if len(self._seen) >= _HEADS_KEPT:
            # All at once: a guess that is missing costs its stream one round trip, an order of use would cost every
            # append.
            self._seen.clear()
        before, of = self._seen.get(stream, (None, -1))
        if before is None or of != sessions or before.version < head.version:
            self._seen[stream] = head, sessions


class Prepared(NamedTuple):
    """A new event, checked, with its data as it will be stored."""

    new: NewEvent
    data: str
    step: str
    stored: Mapping[str, object]
    """`data` as a mapping, in today's shape: with references where values moved out."""


class Row(NamedTuple):
    """What a new event adds to the table `events`, beside its stream."""

    version: int
    id: str
    at: str
    causation: UUID | None
    type: str
    step: str
    key: str | None
    actor: str
    correlation: str
    previous_hash: str
    hash: str
    data: str


class Request(NamedTuple):
    """One caller's append: all of its events are written, or none."""

    events: tuple[Prepared, ...]
    objects: tuple[StoredObject, ...]
    expected: int | None
    correlation: str
    within: frozenset[str] | None = None
    """The steps whose events, and those of no step, `expected` is about; None stands for all."""

    @property
    def keys(self) -> list[str]:
        """The idempotency keys of its events."""
        return [event.new.key for event in self.events if event.new.key is not None]


Outcome = list[Event] | MusterError
"""What one request got: its events, or why none was written."""


def prepare(
    stream: str,
    events: Sequence[NewEvent],
    expected: int | None,
    correlation: str | None,
    within: Collection[str] | None = None,
) -> Request:
    """Check and serialise events before anything waits for the database.

    Raises:
        PermanentError: an event is not JSON, the stream has no name, or a name holds a character PostgreSQL
            cannot store.
    """
    if not stream:
        raise PermanentError("A stream needs a name.", remedy="Append to the run's id.")
    prepared, objects = [], []
    for new in events:
        data, moved = detach(UPCASTERS.stamp(new.type, new.data))
        # A quick look at the text first: masking goes through every value, and this is done for every event.
        if may_hold_secrets(data) or (moved and any(may_hold_secrets(value.content.decode()) for value in moved)):
            new = replace(new, data=redact_data(new.data))
            data, moved = detach(UPCASTERS.stamp(new.type, new.data))
        step = new.data.get("step")
        # Escaped surrogates may read back as other characters, and a rebuild reads them back.
        stored = UPCASTERS.upcast(new.type, json.loads(data)) if moved or "\\ud" in data else new.data
        event = Prepared(new, data, step if isinstance(step, str) else "", stored)
        _check_names(stream, correlation, new.type, new.key, new.actor, event.step)
        prepared.append(event)
        objects += moved
    correlation = stream if correlation is None else correlation
    steps = None if within is None else frozenset({"", *within})
    return Request(tuple(prepared), tuple(objects), expected, correlation, steps)


def _check_names(*names: str | None) -> None:
    together = "".join(filter(None, names))
    if "\0" in together or (not together.isascii() and _has_surrogate(together)):
        raise PermanentError(f"{together!r} holds a character that no name may have.", remedy="Remove it.")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


@dataclass
class Plan:
    """The rows one transaction adds to one stream, and which of them answer which request."""

    stream: str
    before: Head
    after: Head
    at: datetime
    """The time of all its events."""
    rows: list[Row] = field(default_factory=list)
    written: list[tuple[Prepared, UUID]] = field(default_factory=list)
    """What each row was made of."""
    refused: bool = False
    """True when a request expected another version."""
    _answers: list[list[Event | int] | MusterError] = field(default_factory=list)

    def facts(self) -> list[Fact]:
        """What the projections read of the rows."""
        return [
            Fact(self.stream, row.version, row.type, row.actor, self.at, event.stored)
            for row, (event, _) in zip(self.rows, self.written, strict=True)
        ]

    def outcomes(self, positions: Mapping[int, int]) -> list[Outcome]:
        """Each request's events, once the database gave each version its position."""
        events = [
            _event(self, row, *written, positions[row.version])
            for row, written in zip(self.rows, self.written, strict=True)
        ]
        if self._answers == [[0]]:
            # Most appends: one event.
            return [events]
        return [
            answer
            if isinstance(answer, MusterError)
            else [events[item] if isinstance(item, int) else item for item in answer]
            for answer in self._answers
        ]


def plan(
    stream: str,
    head: Head,
    stored: Mapping[str, Event],
    requests: Sequence[Request],
    lasts: Mapping[str, int] | None = None,
) -> Plan:
    """Chain the requests' events onto `head`, one request after the other.

    `lasts` are the versions of the last events of steps, as far as requests ask for them; None when that is not known.
    `stored` are the stream's events under keys the requests use. A request whose events are all there
    is answered with them, whatever version it expected: it is the retry of an append that worked.
    """
    result = Plan(stream, head, head, datetime.now(UTC))
    at = instant(result.at)
    row_by_key: dict[str, int] = {}
    for request in requests:
        # Compared with the head as the requests before it leave it: whether they share a transaction or come one after
        # the other, the answer is the same.
        expected = request.expected
        if expected is not None and expected != _version_for(request, result, lasts):
            known = {*stored, *row_by_key}
            if any(event.new.key is None or event.new.key not in known for event in request.events):
                result._answers.append(_conflict(stream, expected, result.after.version))
                result.refused = True
                continue
        answer: list[Event | int] = []
        for event in request.events:
            key = event.new.key
            # The append is repeated because its answer was lost, or another process was first: what is stored counts.
            if key is not None and key in stored:
                answer.append(stored[key])
            elif key is not None and key in row_by_key:
                answer.append(row_by_key[key])
            else:
                answer.append(_add(result, event, request.correlation, at))
                if key is not None:
                    row_by_key[key] = len(result.rows) - 1
        result._answers.append(answer)
    return result


def _version_for(request: Request, result: Plan, lasts: Mapping[str, int] | None) -> int | None:
    """The version that a request's expectation is compared with: its own when nothing it is about came after that."""
    if request.within is None or lasts is None:
        return result.after.version
    own = [row.version for row in result.rows if row.step in request.within]
    last = max([*own, *(lasts.get(step, 0) for step in request.within)])
    # What other steps wrote after the expected version says nothing about this request, so it counts as unchanged.
    return request.expected if last <= (request.expected or 0) else last


def _add(result: Plan, event: Prepared, correlation: str, at: str) -> int:
    new, id, version, previous = event.new, uuid4(), result.after.version + 1, result.after.hash
    name = str(id)
    hash = event_hash(
        previous=previous,
        stream=result.stream,
        version=version,
        id=name,
        at=at,
        type=new.type,
        key=new.key,
        actor=new.actor,
        correlation=correlation,
        causation=new.causation,
        data=event.data,
    )
    type, key, actor = str(new.type), new.key, new.actor
    row = Row(version, name, at, new.causation, type, event.step, key, actor, correlation, previous, hash, event.data)
    result.rows.append(row)
    result.written.append((event, id))
    result.after = Head(version, hash)
    return len(result.rows) - 1


def _event(plan: Plan, row: Row, prepared: Prepared, id: UUID, position: int) -> Event:
    event = object.__new__(Event)
    version, _, _, causation, type, _, key, actor, correlation, previous_hash, hash, _ = row
    # What `Event(...)` does, without thirteen calls of `object.__setattr__`: this is done for every append.
    object.__setattr__(
        event,
        "__dict__",
        {
            "type": type,
            "data": dict(prepared.new.data),
            "actor": actor,
            "key": key,
            "causation": causation,
            "position": position,
            "stream": plan.stream,
            "version": version,
            "id": id,
            "at": plan.at,
            "correlation": correlation,
            "previous_hash": previous_hash,
            "hash": hash,
        },
    )
    return event


def _conflict(stream: str, expected: int, actual: int) -> ConcurrencyError:
    return ConcurrencyError(
        f"The stream {stream} is at version {actual}, not {expected} as expected.",
        remedy="Read it again and decide again.",
    )
