"""The log as execution reads it: nothing is decided by an event that is not as it was written.

The hash chain of a stream is checked once for each event and process, and what was seen is kept in memory: the hash of
every version, and by which step, type and key it is found. So a read costs its own events and what is new since, and
yet an event that was altered, put in or taken out shows in every read that it belongs to.

What was read may differ from what is kept although nobody has changed anything: another server has taken over and
lacks the last events. So a stream is checked once more from its first event on before it is called harmed.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from muster.database import Database
from muster.events import statements
from muster.events.batch import Head, Outcome, Request
from muster.events.codec import Codec, Look, Plain
from muster.events.driver import Rows, Work
from muster.events.log import READ_PAGE, EventLog
from muster.events.model import Event
from muster.events.objects import ObjectHarmed
from muster.events.rows import as_stored, to_events
from muster.events.tampering import TamperedLog, tampered
from muster.events.verification import Chain, own_hash, strangers

T = TypeVar("T")
Row = tuple[Any, ...]
Fits = Callable[[Row], bool]
"""True for the row of an event that a read returns, followed by its step."""
EVENTS_KEPT = 200_000
"""Events of which the hashes are kept, of all streams together: about 300 bytes each."""


@dataclass
class _Known:
    """A stream as far as it was checked."""

    chain: Chain
    hashes: list[bytes] = field(default_factory=list)
    """By version, from 1."""
    types: list[str] = field(default_factory=list)
    of_type: dict[str, list[int]] = field(default_factory=dict)
    of_step: dict[str, list[int]] = field(default_factory=dict)
    of_key: dict[str, int] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The last version that was checked."""
        # Those whose hash is kept, which comes last: what the chain counts may not be found here yet.
        return len(self.hashes)

    def take(self, rows: Rows, fits: Fits) -> str | None:
        """Check the rows that follow, each with its step; the fault of the first wrong one, None when all are right."""
        for row in rows:
            if row[2] <= self.version:
                # Another coroutine has read and checked it since this one asked. What this one returns has to be the
                # same.
                if fits(row) and (what := self.wrong(row)) is not None:
                    return what
                continue
            event = as_stored(row)
            if (fault := self.chain.check(event, own_hash(row), row[-1])) is not None:
                return fault.message
            self.types.append(event.type)
            self.of_type.setdefault(event.type, []).append(event.version)
            self.of_step.setdefault(row[-1], []).append(event.version)
            if event.key is not None:
                self.of_key[event.key] = event.version
            self.hashes.append(bytes.fromhex(event.hash))
        return None

    def versions(self, after: int, steps: Collection[str] | None, types: Collection[str] | None) -> Iterator[int]:
        """The versions that a read has to find."""
        wanted = None if types is None else set(types)
        lists: list[Sequence[int]] = [range(1, self.version + 1)]
        if steps is not None:
            lists = [self.of_step.get(step, []) for step in {"", *steps}]
        elif wanted is not None:
            lists = [self.of_type.get(type, []) for type in wanted]
        some = (version for versions in lists for version in versions[bisect_right(versions, after) :])
        return (version for version in some if wanted is None or self.types[version - 1] in wanted)

    def wrong(self, row: Sequence[Any]) -> str | None:
        """The fault of a row that was read; None when it is as it was written."""
        version = row[2]
        if version > self.version or bytes.fromhex(own_hash(row)) != self.hashes[version - 1]:
            return f"event {version} ({row[6]}) is not what was written"
        return None


class Verified:
    """What was verified of the streams of one database; several logs of a process may share it, in any thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self.harmed: set[str] = set()
        self._lock = threading.Lock()

    def of(self, stream: str) -> _Known:
        """A stream as far as it was checked."""
        with self._lock:
            known = self._known.get(stream)
            if known is None:
                kept = sum(checked.version for checked in self._known.values())
                # Whole streams, those used longest ago first: a chain is checked from its first event on, so part of
                # one is no use.
                while kept > EVENTS_KEPT:
                    kept -= self._known.popitem(last=False)[1].version
                known = self._known[stream] = _Known(Chain(stream, {}))
            self._known.move_to_end(stream)
            return known

    def take(self, known: _Known, page: Rows, fits: Fits) -> str | None:
        """Check the rows that follow; the fault of the first wrong one, None when all are right."""
        with self._lock:
            return known.take(page, fits)

    def forget(self, stream: str) -> None:
        """Begin anew each time the stream is asked for: a person may have put it right."""
        with self._lock:
            self._known.pop(stream, None)
        self.harmed.add(stream)


class VerifiedLog(EventLog):
    """The log, all of whose reads are of events as they were written.

    Raises `TamperedLog` in every method when that is not so: nothing is decided by such a run, nor written to it.
    """

    def __init__(self, database: Database, codec: Callable[[Look], Codec] = Plain) -> None:
        super().__init__(database, codec)
        self.verified = Verified()
        """What this process has verified; where its logs are many, they are given one."""

    def _append(self, stream: str, requests: Sequence[Request], *, commits: bool = True) -> Work[list[Outcome]]:
        if stream in self.verified.harmed:
            # A person may have restored the stream since: it is checked anew before it is refused.
            yield from self._twice(lambda: self._checked(stream))
        return (yield from super()._append(stream, requests, commits=commits))

    def _read(
        self, stream: str, after: int, steps: Collection[str] | None, types: Collection[str] | None
    ) -> Work[list[Event]]:
        page = statements.page(after, steps, types, READ_PAGE)
        own = None if steps is None else {"", *steps}
        names = None if types is None else {str(type) for type in types}

        def fits(row: Sequence[Any]) -> bool:
            return row[2] > after and (own is None or row[-1] in own) and (names is None or row[6] in names)

        def look() -> Work[list[Event]]:
            sessions = self._database.sessions
            known, upto, rows = yield from self._checked(stream, page, fits)
            # Whoever reads a run is likely to write to it next. Only here, because this work is never a part of a
            # transaction that has written: an event that may yet be rolled back is no head to go by.
            if upto:
                self._heads.remember(stream, Head(upto, known.hashes[upto - 1].hex()), sessions)
            rows = rows[:READ_PAGE]
            # A full page says nothing about the events after it: they are for the next read.
            last = rows[-1][2] if len(rows) == READ_PAGE else upto
            wanted = {version for version in known.versions(after, steps, names) if version <= min(last, upto)}
            return (yield from self._right(stream, rows, wanted))

        return (yield from self._twice(look))

    def _under_keys(self, stream: str, keys: Sequence[str]) -> Work[list[Event]]:
        asked = frozenset(keys)

        def look() -> Work[list[Event]]:
            under = statements.with_keys(keys)
            known, upto, rows = yield from self._checked(stream, under, lambda row: row[7] in asked)
            wanted = {known.of_key[key] for key in keys if known.of_key.get(key, upto + 1) <= upto}
            return (yield from self._right(stream, rows, wanted))

        return (yield from self._twice(look))

    def _stored(self, stream: str, rows: Rows) -> Work[list[Event]]:
        if not rows:
            return []

        def look() -> Work[list[Event]]:
            known, _, _ = yield from self._checked(stream)
            self._compare(stream, known, rows)
            return (yield from self._right(stream, rows, set()))

        return (yield from self._twice(look))

    def _twice(self, look: Callable[[], Work[T]]) -> Work[T]:
        """What `look` finds, the second time from the stream's first event on.

        Raises:
            TamperedLog: both times something is not as it was written.
        """
        try:
            return (yield from look())
        except TamperedLog:
            # `_harm` has forgotten the stream, so this look begins with the first event. What differed may only have
            # been outdated: another server has taken over and lacks the last events.
            return (yield from look())

    def _checked(
        self, stream: str, wanted: statements.Wanted | None = None, fits: Fits = lambda row: False
    ) -> Work[tuple[_Known, int, list[Row]]]:
        """Check a stream's new events; the stream, how far it was looked through, and the events that are wanted.

        Args:
            wanted: Which events; None for none.
            fits: The same of their rows.
        """
        known = self.verified.of(stream)
        upto, rows = yield from self._catch_up(stream, known, wanted, fits)
        # A stream that was removed as a whole has no chain to be broken, but has left its rows in the projections.
        if not upto and (yield from strangers(stream)):
            raise self._harm(stream, known.chain.all_missing().message)
        self.verified.harmed.discard(stream)
        return known, upto, rows

    def _catch_up(
        self, stream: str, known: _Known, wanted: statements.Wanted | None, fits: Fits
    ) -> Work[tuple[int, list[Row]]]:
        """Check the new events; the version up to which they were read, and the rows that are wanted, in order."""
        while True:
            seen = known.version
            (rows,) = yield [statements.unseen(stream, seen, READ_PAGE, wanted)]
            new = [row for row in rows if row[2] > seen]
            if (fault := self.verified.take(known, new, fits)) is not None:
                raise self._harm(stream, fault)
            if len(new) < READ_PAGE:
                old = [row for row in rows if row[2] <= seen]
                self._compare(stream, known, old)
                # Not `known.version`: another coroutine may have read on meanwhile, and what it has seen since need not
                # be in this answer.
                return new[-1][2] if new else seen, [*old, *filter(fits, new)]

    def _compare(self, stream: str, known: _Known, rows: Rows) -> None:
        """Compare rows with what was checked before.

        Raises:
            TamperedLog: one is not as it was written.
        """
        for row in rows:
            if (what := known.wrong(row)) is not None:
                raise self._harm(stream, what)

    def _right(self, stream: str, rows: Rows, wanted: set[int]) -> Work[list[Event]]:
        """The rows, which were checked, as events.

        Raises:
            TamperedLog: one that is wanted is not among them.
        """
        if missing := wanted.difference(row[2] for row in rows):
            raise self._harm(stream, f"event {min(missing)} is missing, or is not what was written")
        try:
            return (yield from to_events(rows))
        except ObjectHarmed as error:
            raise self._harm(stream, error.message) from error
        except TamperedLog:
            self.verified.forget(stream)
            raise

    def _harm(self, stream: str, what: str) -> TamperedLog:
        self.verified.forget(stream)
        return tampered(stream, what)
