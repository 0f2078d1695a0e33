"""The journal of agents' work: what a model or a tool answered is in the log before it is used.

When the work is performed again after a crash, recorded answers are found under their keys and
nothing is asked, performed or paid twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from muster.events.log import EventLog
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.work import ModelCalled
from muster.events.sealing import is_forgotten
from muster.redaction import redact_data


class Journal(Protocol):
    """Looks up and records what was answered in one run."""

    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Event]:
        """The recorded events under these keys; events whose data was forgotten are left out."""
        ...

    async def record(self, event: NewEvent) -> Event:
        """Write the event, durable on return; the one recorded first when its key is taken."""
        ...

    async def spent(self) -> tuple[Decimal, int]:
        """US dollars that the run's model calls cost so far, and the version of the last one counted."""
        ...


class LogJournal:
    """The journal of one run, kept in the event log; shared by the run's calls in one event loop."""

    def __init__(self, log: EventLog, run: str) -> None:
        self._log = log
        self._run = run
        self._waiting: list[_Lookup] = []
        self._reading: asyncio.Task[None] | None = None
        self._spent = Decimal(0)
        self._counted = 0

    async def lookup(self, keys: Sequence[str]) -> Mapping[str, Event]:
        """The recorded events under these keys; lookups that meet share one query."""
        lookup = _Lookup(keys, asyncio.get_running_loop().create_future())
        self._waiting.append(lookup)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        recorded = await lookup.found
        return {key: event for key in keys if (event := recorded.get(key)) is not None and not is_forgotten(event.data)}

    async def record(self, event: NewEvent) -> Event:
        """Write the event; the log lets appends that meet share one transaction.

        About a person who was forgotten the log keeps nothing; the work under way goes on with the answer as it came.
        """
        about = await self._log.aseals(self._run)
        if about is not None and not about.known:
            # Without its key, which may be taken by an answer that nobody can read any more. The new answer was paid
            # for as well, so its event must not be dropped for the old one.
            event = replace(event, key=None)
        stored = (await self._log.aappend(self._run, [event]))[0]
        return replace(stored, data=redact_data(event.data)) if is_forgotten(stored.data) else stored

    async def spent(self) -> tuple[Decimal, int]:
        """The sum of `cost` over the run's `model.called` events; reads what is new since the last time."""
        events = self._log.aread(self._run, after_version=self._counted, types=[EventType.MODEL_CALLED])
        async for event in events:
            self._spent += Decimal(ModelCalled.of(event).cost or 0)
            self._counted = event.version
        return self._spent, self._counted

    async def _read(self) -> None:
        try:
            # One turn of the loop: coroutines that start together are answered together.
            await asyncio.sleep(0)
            while group := self._waiting:
                self._waiting = []
                await self._read_group(group)
        finally:
            # Nothing is awaited between the last look at `_waiting` and this. A lookup that came in between would see a
            # reader, start none, and wait for ever.
            self._reading = None
            for lookup in self._waiting:
                # Left only if this task was cancelled: nobody else would end their wait.
                lookup.found.cancel()

    async def _read_group(self, group: Sequence[_Lookup]) -> None:
        try:
            recorded = await self._log.aunder_keys(self._run, [key for lookup in group for key in lookup.keys])
        except Exception as error:
            for lookup in group:
                if not lookup.found.done():
                    lookup.found.set_exception(error)
            return
        for lookup in group:
            if not lookup.found.done():
                lookup.found.set_result(recorded)


@dataclass(frozen=True)
class _Lookup:
    keys: Sequence[str]
    found: asyncio.Future[Mapping[str, Event]]


class Recorded:
    """What an earlier execution of one work item left in the journal, read once when it begins again."""

    def __init__(self, events: Mapping[str, Event]) -> None:
        self._events = events

    @classmethod
    async def load(cls, journal: Journal, key: str, requests: int) -> Recorded:
        """Everything recorded for the work `key` of at most `requests` model requests."""
        first = model_key(key, 0)
        # Without an answer to the first request there can be none to a later one.
        if not (events := dict(await journal.lookup([first]))):
            return cls({})
        events |= await journal.lookup([model_key(key, number) for number in range(1, requests)])
        tools = [
            tool_key(key, number, position)
            for number in range(requests)
            if (event := events.get(model_key(key, number)))
            for position in range(count_tool_calls(ModelCalled.of(event).response))
        ]
        return cls(events | dict(await journal.lookup(tools)) if tools else events)

    def find(self, key: str, answers: Callable[[Event], bool]) -> Event | None:
        """The event under `key`, if it answers this very question."""
        event = self._events.get(key)
        return event if event is not None and answers(event) else None


def model_key(key: str, number: int) -> str:
    """The key of the answer to the model request `number` of the work `key`."""
    return f"{key}/model/{number}"


def tool_key(key: str, number: int, position: int) -> str:
    """The key of a tool's result: asked for by the answer `number`, in this position among its calls."""
    return f"{key}/tool/{number}.{position}"


def count_tool_calls(response: Mapping[str, Any]) -> int:
    """How many tools a recorded response asks for."""
    return sum(part.get("part_kind") == "tool-call" for part in response.get("parts", ()))
