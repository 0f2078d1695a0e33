"""The log: append to streams, read them, follow the whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from muster.database import Database
from muster.errors import MusterError
from muster.events import statements
from muster.events.batch import EMPTY, Head, Heads, Outcome, Plan, Request, plan, prepare
from muster.events.coalesce import Coalescer
from muster.events.codec import Codec, Look, Plain
from muster.events.driver import Rows, Work, arun, run
from muster.events.model import Event, NewEvent
from muster.events.rows import resolve, to_event, to_events
from muster.events.sealing import Seals
from muster.events.snapshots import state_of
from muster.events.state import RunState
from muster.events.tampering import tampered
from muster.events.verification import Fault, listing, verifying

READ_PAGE = 250
"""Events fetched at a time: a long stream never has to fit in memory."""


@dataclass(frozen=True, order=True)
class Place:
    """How far a follower has read: everything up to and including this has been seen."""

    server_epoch: int = 0
    """Which of the servers that the log was written on: transactions of one say nothing about those of another."""
    transaction: int = 0
    position: int = 0

    def __str__(self) -> str:
        return f"{self.server_epoch}:{self.transaction}:{self.position}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place that `str` wrote. A text without an epoch is of the first: it is older than they are."""
        *epoch, transaction, position = text.split(":")
        return cls(int(epoch[0]) if epoch else 1, int(transaction), int(position))

    def parameters(self) -> dict[str, object]:
        """What `statements.FOLLOWING` asks for."""
        return {"server_epoch": self.server_epoch, "transaction": str(self.transaction), "position": self.position}


START = Place()
"""Before the first event of the log."""


@dataclass(frozen=True)
class Page:
    """Some events of the whole log, in order, and where to go on from."""

    events: list[Event]
    """Large values are left as references; `EventLog.resolve` fetches them."""
    place: Place


class EventLog:
    """Appends to and reads from the log in one database.

    Safe to share between threads, coroutines and forked processes. Every method has a twin for
    coroutines whose name starts with `a`.
    """

    def __init__(self, database: Database, codec: Callable[[Look], Codec] = Plain) -> None:
        """A log whose events go through a codec, made by `codec` from a function that looks events up by their keys."""
        self._database = database
        self._codec = codec(self._under_keys)
        self._heads = Heads()
        self._coalescer = Coalescer(self._append_all, lambda request: len(request.events))

    @property
    def database(self) -> Database:
        """Where the log is kept."""
        return self._database

    def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        correlation: str | None = None,
        within: Collection[str] | None = None,
    ) -> list[Event]:
        """Write events to the end of a stream, all or none, durable on return.

        An event whose key the stream holds already is not written again: the stored one is returned in
        its place. `expected` is the version the stream must have (0: no events yet); None takes any.
        With `within`, events of other steps than these may have come after it, and nothing else.
        `correlation` is the stream's name unless given.

        Raises:
            ConcurrencyError: the stream is at another version, and there was something new to write.
            PermanentError: an event cannot be stored as JSON.
            TransientError: the database was lost; with keys, appending again is safe.
        """
        if not events:
            return []
        return run(self._database, self.appending(stream, events, expected, correlation, within, commits=True))

    def appending(
        self,
        stream: str,
        events: Sequence[NewEvent],
        expected: int | None = None,
        correlation: str | None = None,
        within: Collection[str] | None = None,
        *,
        commits: bool = False,
    ) -> Work[list[Event]]:
        """The work of `append`; without `commits` as a part of a transaction of others (`driver.one_transaction`)."""
        sealed = yield from self._codec.seal(stream, events)
        request = prepare(stream, sealed, expected, correlation, within)
        (outcome,) = yield from self._append(stream, [request], commits=commits)
        return (yield from self._codec.open(stream, _events(outcome)))

    async def aappend(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        correlation: str | None = None,
        within: Collection[str] | None = None,
    ) -> list[Event]:
        """`append`, sharing a transaction with the other coroutines that append to the stream right now."""
        if not events:
            return []
        plain = self._codec.is_plain(stream)
        sealed = events if plain else await arun(self._database, self._codec.seal(stream, events))
        request = prepare(stream, sealed, expected, correlation, within)
        written = _events(await self._coalescer.submit(stream, request))
        return written if plain else await arun(self._database, self._codec.open(stream, written))

    def read(
        self,
        stream: str,
        *,
        after_version: int = 0,
        steps: Collection[str] | None = None,
        types: Collection[str] | None = None,
    ) -> Iterator[Event]:
        """The stream's events in order, large values included; none for an unknown stream.

        `steps` keeps the events of these steps and those that belong to no step.
        """
        while True:
            page = run(self._database, self._page(stream, after_version, steps, types))
            yield from page
            if len(page) < READ_PAGE:
                return
            after_version = page[-1].version

    async def aread(
        self,
        stream: str,
        *,
        after_version: int = 0,
        steps: Collection[str] | None = None,
        types: Collection[str] | None = None,
    ) -> AsyncIterator[Event]:
        """`read` for coroutines."""
        while True:
            # Each page on a connection of its own, because a slow reader must keep none from the others.
            page = await arun(self._database, self._page(stream, after_version, steps, types))
            for event in page:
                yield event
            if len(page) < READ_PAGE:
                return
            after_version = page[-1].version

    def under_keys(self, stream: str, keys: Sequence[str]) -> dict[str, Event]:
        """The stream's events that were appended under these keys, by key; large values included."""
        return _by_key(run(self._database, self._found(stream, keys)) if keys else [])

    async def aunder_keys(self, stream: str, keys: Sequence[str]) -> dict[str, Event]:
        """`under_keys` for coroutines."""
        return _by_key(await arun(self._database, self._found(stream, keys)) if keys else [])

    def state(self, stream: str) -> RunState:
        """The state after all of the stream's events as they are stored, with a snapshot's help when it is long.

        What is sealed stays sealed, here and in the snapshot.
        """
        return run(self._database, self._state(stream))

    async def astate(self, stream: str) -> RunState:
        """`state` for coroutines."""
        return await arun(self._database, self._state(stream))

    def subject(self, stream: str) -> str | None:
        """The id of a run's subject; None when it is about nobody, or not opened yet."""
        return run(self._database, self._codec.subject(stream))

    async def asubject(self, stream: str) -> str | None:
        """`subject` for coroutines."""
        # Asked for every item of a list, so an answer that is known must take no connection.
        known = self._codec.is_about_nobody(stream)
        return None if known else await arun(self._database, self._codec.subject(stream))

    def digest(self, name: str) -> str:
        """A keyed hash of a name, for a log that has a key.

        Raises:
            MusterError: it has none.
        """
        return self._codec.digest(name)

    async def aseals(self, stream: str) -> Seals | None:
        """The seals of a run's subject, which keep nothing without a key; None when it is about nobody."""
        known = self._codec.is_about_nobody(stream)
        return None if known else await arun(self._database, self._codec.seals(stream))

    def version(self, stream: str) -> int:
        """The version of the stream's last event, 0 without events."""
        return run(self._database, _version(stream))

    async def aversion(self, stream: str) -> int:
        """`version` for coroutines."""
        return await arun(self._database, _version(stream))

    def follow(self, after: Place = START, *, limit: int = READ_PAGE) -> Page:
        """The next events of the whole log; an empty page means: ask again later.

        Nothing is skipped, however many write at once, and a stream's events come in order of version.
        An event shows once every transaction older than its own has ended. After the database was restored on
        another server, a place from before leads on to what is written there.
        """
        return run(self._database, _follow(after, limit))

    def resolve(self, events: Sequence[Event]) -> list[Event]:
        """Events of `follow` with their large values."""
        return run(self._database, _resolve(events))

    def verify(self, stream: str) -> Fault | None:
        """The first event of the stream that is not as it was written, None when all are."""
        return run(self._database, verifying(stream))

    async def averify(self, stream: str) -> Fault | None:
        """`verify` for coroutines."""
        return await arun(self._database, verifying(stream))

    def ensure_untampered(self, stream: str) -> None:
        """Verify every event of a run before something is decided by them.

        Raises:
            TamperedLog: one was altered, removed or put in, or all of them are gone.
        """
        if (fault := self.verify(stream)) is not None:
            raise tampered(stream, fault.message)

    def verify_all(self) -> Iterator[Fault]:
        """The first fault of every stream that has one."""
        for stream in self.streams():
            if (fault := self.verify(stream)) is not None:
                yield fault

    def streams(self) -> Iterator[str]:
        """Every stream's name, sorted."""
        after = ""
        while names := run(self._database, listing(after)):
            yield from names
            after = names[-1]

    def _page(
        self, stream: str, after: int, steps: Collection[str] | None, types: Collection[str] | None
    ) -> Work[list[Event]]:
        return (yield from self._codec.open(stream, (yield from self._read(stream, after, steps, types))))

    def _found(self, stream: str, keys: Sequence[str]) -> Work[list[Event]]:
        return (yield from self._codec.open(stream, (yield from self._under_keys(stream, keys))))

    def _read(
        self, stream: str, after: int, steps: Collection[str] | None, types: Collection[str] | None
    ) -> Work[list[Event]]:
        answers = yield [statements.read(stream, after, steps, types, READ_PAGE)]
        return (yield from to_events(answers[0]))

    def _under_keys(self, stream: str, keys: Sequence[str]) -> Work[list[Event]]:
        answers = yield [statements.under_keys(stream, list(keys))]
        return (yield from to_events(answers[0]))

    def _stored(self, stream: str, rows: Rows) -> Work[list[Event]]:
        """The stored events under the keys of an append."""
        return (yield from to_events(rows))

    def _state(self, stream: str) -> Work[RunState]:
        return (yield from state_of(stream, lambda after: self._read(stream, after, None, None), READ_PAGE))

    async def _append_all(self, stream: str, requests: Sequence[Request]) -> list[Outcome]:
        return await arun(self._database, self._append(stream, requests))

    def _append(self, stream: str, requests: Sequence[Request], *, commits: bool = True) -> Work[list[Outcome]]:
        """Write the requests in one transaction: one round trip when the guess at the head is right."""
        objects = [item for request in requests for item in request.objects]
        # Before the event and not in its transaction: no event ever names an object that is not there. A crash in
        # between leaves an object that nobody names, which harms nothing.
        if objects:
            yield statements.store_objects(objects)
        # Counted before anything is written: if a new session begins meanwhile, the head that is remembered below
        # carries the older number and is not believed. A head that others may roll back is not remembered at all.
        sessions = self._database.sessions if commits else None
        # Taken out until the append is known to be written: after a failure, or beside another append of this process,
        # the head is read under the lock and not guessed.
        guess = self._heads.take(stream, sessions)
        if guess is None and requests[0].expected == 0:
            # The first append to a stream says itself where the stream stands: it needs no round trip to find out.
            guess = EMPTY
        if guess is not None:
            attempt = plan(stream, guess, {}, requests)
            # A refusal by a guess is not believed: another process may have written what the request expects. No row
            # comes back where the stream has grown or holds one of the keys. Both are decided under the lock.
            if not attempt.refused and (rows := (yield [statements.append(attempt)])[0]):
                return self._appended(attempt, rows, sessions)
        return (yield from self._append_locked(stream, requests, sessions))

    def _append_locked(self, stream: str, requests: Sequence[Request], sessions: int | None) -> Work[list[Outcome]]:
        keys = [key for request in requests for key in request.keys]
        steps = frozenset[str]().union(*(request.within or () for request in requests))
        # In this order: what is read once the lock is held stays true until the commit. A head that was read before it
        # could be another writer's last but one.
        _, _, heads, known, *lasts = yield [
            statements.BEGIN,
            statements.lock(stream),
            statements.head(stream),
            statements.under_keys(stream, keys),
            *([statements.lasts(stream, steps)] if steps else []),
        ]
        head = Head(*heads[0]) if heads else EMPTY
        stored = _by_key((yield from self._stored(stream, known)))
        attempt = plan(stream, head, stored, requests, dict(*lasts))
        if not attempt.rows:
            yield [statements.COMMIT]
            return self._appended(attempt, [], sessions)
        rows, _ = yield [statements.append(attempt), statements.COMMIT]
        if not rows:
            raise MusterError(
                f"The head of the stream {stream} does not agree with its events.",
                remedy=f"Run `muster verify {stream}`: somebody changed the tables by hand.",
            )
        return self._appended(attempt, rows, sessions)

    def _appended(self, attempt: Plan, rows: Rows, sessions: int | None) -> list[Outcome]:
        if sessions is not None:
            self._heads.remember(attempt.stream, attempt.after, sessions)
        return attempt.outcomes(dict(rows))


def _events(outcome: Outcome) -> list[Event]:
    if isinstance(outcome, MusterError):
        raise outcome
    return outcome


def _by_key(events: Sequence[Event]) -> dict[str, Event]:
    return {event.key: event for event in events if event.key is not None}


def _version(stream: str) -> Work[int]:
    answers = yield [statements.head(stream)]
    return answers[0][0][0] if answers[0] else 0


def _follow(after: Place, limit: int) -> Work[Page]:
    answers = yield [statements.follow(after.parameters(), limit)]
    rows = answers[0]
    if not rows:
        return Page([], after)
    return Page([to_event(row) for row in rows], Place(rows[-1][-2], int(rows[-1][-1]), rows[-1][0]))


def _resolve(events: Sequence[Event]) -> Work[list[Event]]:
    return (yield from resolve(events))
