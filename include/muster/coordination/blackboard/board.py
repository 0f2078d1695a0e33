"""A blackboard as one of those who work at it has it: what it may read and write, and what it has seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from muster.coordination.blackboard import statements
from muster.coordination.blackboard.keys import Keys
from muster.coordination.blackboard.model import BoardRefused, Entry, Rights, Writer
from muster.coordination.blackboard.rows import Reader
from muster.coordination.blackboard.watching import Watched
from muster.coordination.blackboard.withdrawing import withdraw_earlier
from muster.coordination.blackboard.writing import Change, made, merged, written
from muster.coordination.merging import ABSENT
from muster.coordination.messages.waking import Waiter, bell_of
from muster.database import Database
from muster.errors import RowLocked
from muster.events.driver import Query, Work, arun, arun_within, one_transaction, run, run_within
from muster.events.log import EventLog
from muster.events.model import Event, NewEvent
from muster.events.sealing import Seals, current_seals

T = TypeVar("T")


class Board:
    """What a run and its goal know together. Every method has a twin for coroutines that starts with `a`.

    It remembers which version of each key it has seen, and overwrites no other. `within` is a connection in a
    transaction of the caller's: what is written is committed with it or not at all, and who watches learns it some
    seconds later.
    """

    def __init__(
        self, database: Database, run: str, keys: Keys, rights: Rights, writer: Writer, *, goal: str | None = None
    ) -> None:
        """`goal` is the name of the goal whose board its keys `of_goal` are on."""
        self._database, self._run, self._keys, self._goal = database, run, keys, goal
        self._rights, self._writer = rights, writer
        self._seen: dict[str, int] = {}
        self._merged: dict[str, object] = {}
        """What was merged here into what others have there, which nobody here has seen."""
        self._is_begun = not (writer.is_later and writer.work)

    @property
    def reads(self) -> frozenset[str]:
        """The keys that may be read."""
        return self._rights.reads

    @property
    def writes(self) -> frozenset[str]:
        """The keys that may be written."""
        return self._rights.writes

    def get(self, key: str) -> Entry | None:
        """What stands under a key; None when nothing was ever written there.

        Raises:
            BoardRefused: there is no such key, or it may not be read.
        """
        return self.get_all([key]).get(key)

    async def aget(self, key: str) -> Entry | None:
        """`get` for coroutines."""
        return (await self.aget_all([key])).get(key)

    def get_all(self, keys: Sequence[str] | None = None) -> dict[str, Entry]:
        """What stands under these keys, or all that may be read: those under which anything was ever written."""
        places = self._readable(keys)
        self.begin()
        return self._noted(run(self._database.bare, self._current(places)))

    async def aget_all(self, keys: Sequence[str] | None = None) -> dict[str, Entry]:
        """`get_all` for coroutines."""
        places = self._readable(keys)
        await self.abegin()
        return self._noted(await arun(self._database.bare, self._current(places)))

    def history(self, key: str, *, limit: int = 100) -> list[Entry]:
        """The versions of a key, newest first; what was withdrawn says when and why."""
        return run(self._database.bare, self._versions(self._place(key, "read"), limit))

    async def ahistory(self, key: str, *, limit: int = 100) -> list[Entry]:
        """`history` for coroutines."""
        return await arun(self._database.bare, self._versions(self._place(key, "read"), limit))

    def put(
        self, key: str, value: Any, *, expected: int | None = None, within: Connection[TupleRow] | None = None
    ) -> int:
        """Write what stands under a key from now on; the number of the version.

        Args:
            expected: The version that it takes the place of: 0 for none. Default: the one that was seen here last.

        Raises:
            BoardRefused: there is no such key, it may not be written, or the value does not fit it or is too large.
            BoardConflict: somebody else has written since, or nobody here has looked; nothing was written.
        """
        change = self._change(key, value, "put", expected)
        self.begin()
        return self._after(change, self._do(written(change), within), within)

    async def aput(
        self, key: str, value: Any, *, expected: int | None = None, within: AsyncConnection[TupleRow] | None = None
    ) -> int:
        """`put` for coroutines."""
        change = self._change(key, value, "put", expected)
        await self.abegin()
        return self._after(change, await self._ado(written(change), within), within)

    def put_with(self, log: EventLog, events: Sequence[NewEvent], key: str, value: Any) -> list[Event]:
        """Append events to the run's log, and write what they cause: both in one transaction.

        Appended again under their keys, events are given back as they are stored, and nothing is written.
        """
        change = self._change(key, value, "put", None)
        self.begin()
        appended, version = run(log.database, self._with(log, events, change))
        self._after(change, version, None)
        return appended

    async def aput_with(self, log: EventLog, events: Sequence[NewEvent], key: str, value: Any) -> list[Event]:
        """`put_with` for coroutines."""
        change = self._change(key, value, "put", None)
        await self.abegin()
        appended, version = await arun(log.database, self._with(log, events, change))
        self._after(change, version, None)
        return appended

    def merge(
        self,
        key: str,
        value: Any,
        *,
        lists: Mapping[str, str] | None = None,
        within: Connection[TupleRow] | None = None,
    ) -> int:
        """Merge what was seen here last and changed into `value` with what stands there now, field by field.

        Args:
            lists: As in `merging.merge_records`: the lists whose elements are told apart by a key.

        Raises:
            BoardRefused: as of `put`.
            BoardConflict: both sides have changed a field in different ways; nothing was written.
        """
        change = self._change(key, value, "merge", None)
        self.begin()
        return self._after_merge(change, self._do(merged(change, lists, locks=within is None), within), within)

    async def amerge(
        self,
        key: str,
        value: Any,
        *,
        lists: Mapping[str, str] | None = None,
        within: AsyncConnection[TupleRow] | None = None,
    ) -> int:
        """`merge` for coroutines."""
        change = self._change(key, value, "merge", None)
        await self.abegin()
        return self._after_merge(change, await self._ado(merged(change, lists, locks=within is None), within), within)

    def remove(self, key: str, *, expected: int | None = None) -> int:
        """Have nothing stand under a key any more; raises what `put` raises."""
        change = self._change(key, None, "removal", expected)
        self.begin()
        return self._after(change, self._do(written(change), None), None)

    async def aremove(self, key: str, *, expected: int | None = None) -> int:
        """`remove` for coroutines."""
        change = self._change(key, None, "removal", expected)
        await self.abegin()
        return self._after(change, await self._ado(written(change), None), None)

    def update(self, key: str, change: Callable[[Any], Any]) -> int:
        """Put what `change` makes of what stands there, None for nothing. It is quick, and may be called several times.

        Raises:
            BoardRefused: as of `get` and `put`.
        """
        wanted = self._made(key)
        self.begin()
        try:
            return self._after(wanted, self._do(made(wanted, _of_value(change), locks=True))[0], None)
        except RowLocked:
            return self._after(wanted, self._do(made(wanted, _of_value(change), locks=False))[0], None)

    async def aupdate(self, key: str, change: Callable[[Any], Any]) -> int:
        """`update` for coroutines."""
        wanted = self._made(key)
        await self.abegin()
        try:
            return self._after(wanted, (await self._ado(made(wanted, _of_value(change), locks=True)))[0], None)
        except RowLocked:
            return self._after(wanted, (await self._ado(made(wanted, _of_value(change), locks=False)))[0], None)

    def watch(self, *keys: str, wait: float) -> list[Entry]:
        """What was written under these keys since they were seen here last; none when nothing comes in time."""
        until, bell = time.monotonic() + wait, bell_of(self._database)
        while True:
            waiter = Waiter()
            with ExitStack() as stack:
                for place in self._watched(keys):
                    stack.enter_context(bell.waiting(place, waiter))
                found, left = self._new(keys, run(self._database.bare, self._current(self._readable(keys)))), 0.0
                if not found and (left := until - time.monotonic()) > 0:
                    waiter.wait(left)
                    continue
            return found

    async def awatch(self, *keys: str, wait: float) -> list[Entry]:
        """`watch` for coroutines."""
        until, bell = time.monotonic() + wait, bell_of(self._database)
        while True:
            waiter = Waiter(asyncio.get_running_loop())
            with ExitStack() as stack:
                for place in self._watched(keys):
                    stack.enter_context(bell.waiting(place, waiter))
                current = await arun(self._database.bare, self._current(self._readable(keys)))
                found, left = self._new(keys, current), until - time.monotonic()
                if not found and left > 0:
                    await waiter.await_(left)
                    continue
            return found

    def begin(self) -> None:
        """Withdraw what earlier attempts at the work have written; done before anything is read or written here."""
        if not self._is_begun:
            self._ring(run(self._database, self._beginning()))
            self._is_begun = True

    async def abegin(self) -> None:
        """`begin` for coroutines."""
        if not self._is_begun:
            self._ring(await arun(self._database, self._beginning()))
            self._is_begun = True

    @property
    def _reader(self) -> Reader:
        given: Seals | None = self._database.seals
        seals = given or current_seals()
        return Reader(seals if seals is not None and seals.stream == self._run else None)

    def _place(self, key: str, right: str) -> tuple[str, str]:
        """The board that a key is on, and the key.

        Raises:
            BoardRefused: there is no such key or board, or it may not be read or written.
        """
        of_goal = self._keys.of(key).of_goal
        if key not in (self._rights.reads if right == "read" else self._rights.writes):
            raise BoardRefused(
                f"`{key}` of the shared context may not be {'read' if right == 'read' else 'written'} by "
                f"{self._rights.where}.",
                remedy=f"Let it declare so: `context: {{ {right}s: [{key}] }}`.",
            )
        if of_goal and self._goal is None:
            raise BoardRefused(f"`{key}` belongs to a goal, and {self._rights.where} has none.")
        return (f"goal {self._goal}" if of_goal else f"run {self._run}"), key

    def _readable(self, keys: Sequence[str] | None) -> list[tuple[str, str]]:
        return [self._place(key, "read") for key in (sorted(self._rights.reads) if keys is None else keys)]

    def _watched(self, keys: Sequence[str]) -> list[Watched]:
        return [Watched(*place, self._seen.get(place[1], 0)) for place in self._readable(keys)]

    def _current(self, places: Sequence[tuple[str, str]]) -> Work[list[Entry]]:
        if not places:
            return []
        boards, keys = zip(*places, strict=True)
        rows = (yield [Query(statements.CURRENT, {"boards": list(boards), "keys": list(keys)})])[0]
        reader = self._reader
        return [reader.entry(row) for row in rows]

    def _versions(self, place: tuple[str, str], limit: int) -> Work[list[Entry]]:
        board, key = place
        rows = (yield [Query(statements.HISTORY, {"board": board, "key": key, "limit": limit})])[0]
        reader = self._reader
        return [reader.entry(row) for row in rows]

    def _noted(self, entries: Sequence[Entry]) -> dict[str, Entry]:
        for entry in entries:
            self._seen[entry.key] = entry.version
            self._merged.pop(entry.key, None)
        return {entry.key: entry for entry in entries}

    def _new(self, keys: Sequence[str], entries: Sequence[Entry]) -> list[Entry]:
        found = [entry for entry in entries if entry.version > self._seen.get(entry.key, 0)]
        self._noted(found)
        return found

    def _change(self, key: str, value: Any, kind: Any, expected: int | None) -> Change:
        board, _ = self._place(key, "write")
        seen = self._seen.get(key, 0) if expected is None else expected
        mine = self._merged.get(key, ABSENT)
        change = Change(board, key, kind, value, seen, self._run, self._writer, self._keys, self._reader, mine)
        return change.checked()

    def _made(self, key: str) -> Change:
        self._place(key, "read")
        return replace(self._change(key, None, "removal", None), kind="put")

    def _with(self, log: EventLog, events: Sequence[NewEvent], change: Change) -> Work[tuple[list[Event], int]]:
        def both() -> Work[tuple[list[Event], int]]:
            appended = yield from log.appending(self._run, events, None)
            if not (version := (yield from change.caused_before(appended[0].id))):
                version = yield from written(change, appended[0].id)
            return appended, version

        # Committed with the events, it presents the attempt as all that is written does.
        return one_transaction(both(), self._database.fence)

    def _beginning(self) -> Work[set[Watched]]:
        by = self._writer
        return (yield from withdraw_earlier(self._run, by.work, by.execution, by.attempt, self._reader))

    def _after(self, change: Change, version: int, within: object | None) -> int:
        self._seen[change.key] = version
        self._merged.pop(change.key, None)
        if within is None:
            self._ring({Watched(change.board, change.key, 0)})
        return version

    def _after_merge(self, change: Change, result: tuple[int, bool], within: object | None) -> int:
        version, is_seen = result
        if is_seen:
            return self._after(change, version, within)
        self._merged[change.key] = change.value
        if within is None:
            self._ring({Watched(change.board, change.key, 0)})
        return version

    def _ring(self, places: set[Watched]) -> None:
        bell_of(self._database).ring(places)

    def _do(self, work: Work[T], within: Connection[TupleRow] | None = None) -> T:
        return run(self._database, work) if within is None else run_within(within, work)

    async def _ado(self, work: Work[T], within: AsyncConnection[TupleRow] | None = None) -> T:
        return await (arun(self._database, work) if within is None else arun_within(within, work))


def _of_value(change: Callable[[Any], Any]) -> Callable[[Entry | None], object]:
    return lambda entry: change(None if entry is None else entry.value)
