"""Recomputes the hash chain of streams, and names the first event that is not as it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from hashlib import sha256
from typing import Any, Literal

from muster.events import statements
from muster.events.canonical import GENESIS, event_hash, instant
from muster.events.definitions import harmed
from muster.events.driver import Query, Work
from muster.events.model import Event, EventType
from muster.events.objects import by_name, references
from muster.events.rows import as_stored

_PAGE = 1_000
NAMING = (EventType.RUN_OPENED, EventType.RUN_RESTARTED)
"""The events that may name a definition."""

Kind = Literal["altered", "removed", "reordered", "replaced", "truncated"]


@dataclass(frozen=True)
class Fault:
    """The first event of a stream that does not verify."""

    stream: str
    version: int
    kind: Kind
    message: str


@dataclass
class Chain:
    """How far a stream has been checked."""

    stream: str
    witnesses: Mapping[int, str]
    version: int = 0
    hash: str = GENESIS
    position: int = 0

    def check(self, event: Event, own: str, step: str) -> Fault | None:
        """Check the next event, whose content has the hash `own`; moves on when it is right."""
        # Neither the column `step` nor the position is part of the hash: the one must say what the data says, the other
        # must grow.
        said = event.data.get("step") if isinstance(event.data, dict) else None
        wrong_step = step != (said if isinstance(said, str) else "")
        if event.version != self.version + 1:
            return self._fault("removed", f"event {self.version + 1} is missing; the next is {event.version}")
        if event.position <= self.position:
            return self._fault("reordered", f"event {event.version} was written before the one it follows")
        if own != event.hash or wrong_step:
            return self._fault("altered", f"event {event.version} ({event.type}) is not what was written")
        if event.previous_hash != self.hash:
            return self._fault("replaced", f"event {event.version} follows another event than the one before it")
        if self.witnesses.get(event.version, own) != own:
            return self._fault("replaced", f"event {event.version} is not the one that a checkpoint saw there")
        self.version, self.hash, self.position = event.version, event.hash, event.position
        return None

    def check_end(self) -> Fault | None:
        """Check that nothing is known to have followed."""
        known = max(self.witnesses, default=0)
        if known <= self.version:
            return None
        number = known - self.version
        some = "1 event is missing at the end" if number == 1 else f"{number} events are missing at the end"
        lost = some if self.version else "all events are missing"
        return self._fault("truncated", f"{lost}: a checkpoint saw version {known}")

    def all_missing(self) -> Fault:
        """The fault of a run of which other tables tell."""
        return self._fault("removed", "all events are missing, and the tables that screens read still tell of the run")

    def check_objects(self, wanted: dict[str, int], found: dict[str, bytes]) -> Fault | None:
        """Check the large values the events refer to."""
        for name, version in wanted.items():
            if name not in found:
                return Fault(self.stream, version, "removed", f"the object {name} of event {version} is missing")
            if sha256(found[name]).hexdigest() != name:
                return Fault(self.stream, version, "altered", f"the object {name} of event {version} was changed")
        return None

    def _fault(self, kind: Kind, message: str) -> Fault:
        return Fault(self.stream, self.version + 1, kind, message)


def own_hash(row: Sequence[Any]) -> str:
    """The hash of what a row of `statements.COLUMNS` holds, whatever hash it says it has."""
    _, stream, version, id, at, causation, type, key, actor, correlation, previous, _, data = row[:13]
    return event_hash(
        previous=previous,
        stream=stream,
        version=version,
        id=id,
        at=instant(at.astimezone(UTC)),
        type=type,
        key=key,
        actor=actor,
        correlation=correlation,
        causation=causation,
        data=data,
    )


def verifying(stream: str) -> Work[Fault | None]:
    """The first fault of a stream, None when every event is as it was written.

    The chain is its own witness only up to its last event: that events were cut off the end shows against
    checkpoints alone (`muster.events.checkpoints`).
    """
    return (yield from checking(stream, {}))[1]


def checking(
    stream: str, witnesses: Mapping[int, str], intact: set[str] | None = None
) -> Work[tuple[int, Fault | None]]:
    """How many events of a stream are right, and its first fault.

    `witnesses` are hashes by version that the stream is known to have had; `intact` the definitions that were looked
    at already, to which those of this stream are added.
    """
    intact = set() if intact is None else intact
    chain = Chain(stream, witnesses)
    while True:
        answers = yield [
            Query(
                f"SELECT {statements.COLUMNS}, step FROM events WHERE stream = %(stream)s AND version > %(after)s"
                " ORDER BY version LIMIT %(limit)s",
                {"stream": stream, "after": chain.version, "limit": _PAGE},
            )
        ]
        rows = answers[0]
        wanted: dict[str, int] = {}
        opened: dict[str, int] = {}
        for row in rows:
            event = as_stored(row)
            if (fault := chain.check(event, own_hash(row), row[-1])) is not None:
                return chain.version, fault
            wanted.update(dict.fromkeys(references(event.data), event.version))
            if event.type in NAMING and isinstance(hash := event.data.get("definition"), str):
                opened[hash] = event.version
        if wanted:
            contents = by_name((yield [statements.objects(wanted)])[0])
            if (fault := chain.check_objects(wanted, contents)) is not None:
                return chain.version, fault
        # Many runs are of one version: its definition is hashed once for all of their streams.
        if new := opened.keys() - intact:
            for (hash,) in (yield [harmed(new)])[0]:
                what = f"the definition {hash} of event {opened[hash]} is not what was written"
                return chain.version, Fault(stream, opened[hash], "altered", what)
            intact |= new
        if len(rows) < _PAGE:
            fault = chain.check_end()
            if fault is None and not chain.version and (yield from strangers(stream)):
                fault = chain.all_missing()
            return chain.version, fault


def strangers(stream: str | None = None) -> Work[list[str]]:
    """Runs of which the projections tell and the log does not, which is never so unless events were removed."""
    # In one statement, so that a run that is being opened has its events and its rows, or neither: between two, its
    # rows could appear after its events were looked for.
    answers = yield [
        Query(
            "SELECT id FROM runs WHERE (%(stream)s::text IS NULL OR id = %(stream)s)"
            " AND NOT EXISTS (SELECT FROM events WHERE stream = runs.id)"
            " UNION SELECT run FROM steps WHERE (%(stream)s::text IS NULL OR run = %(stream)s)"
            " AND NOT EXISTS (SELECT FROM events WHERE stream = steps.run) ORDER BY 1",
            {"stream": stream},
        )
    ]
    return [row[0] for row in answers[0]]


def listing(after: str) -> Work[list[str]]:
    """The next streams by name, in pages."""
    # Hops from name to name along the primary key, however many events each stream has.
    answers = yield [
        Query(
            "WITH RECURSIVE names(name) AS ("
            " (SELECT stream FROM events WHERE stream > %(after)s ORDER BY stream LIMIT 1) UNION ALL"
            " SELECT (SELECT stream FROM events WHERE stream > name ORDER BY stream LIMIT 1)"
            " FROM names WHERE name IS NOT NULL"
            ") SELECT name FROM names WHERE name IS NOT NULL LIMIT %(limit)s",
            {"after": after, "limit": _PAGE},
        )
    ]
    return [row[0] for row in answers[0]]
