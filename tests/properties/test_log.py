"""The log against a model of it in plain Python, under sequences of operations that hypothesis thinks up."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from muster.database import Database
from muster.errors import ConcurrencyError
from muster.events.log import EventLog, Place
from muster.events.model import Event, NewEvent

STREAMS = st.sampled_from(["a", "b", "c"])
KEYS = st.one_of(st.none(), st.sampled_from(["k0", "k1", "k2", "k3", "k4"]))
DATA = st.fixed_dictionaries(
    {"value": st.integers() | st.text(max_size=5) | st.just(70_000).map("x".__mul__)},
    optional={"step": st.sampled_from(["s", "t"])},
)
BATCHES = st.lists(st.builds(NewEvent, type=st.sampled_from(["p", "q"]), key=KEYS, data=DATA), max_size=4)


class Model:
    """What the log promises, for one stream."""

    def __init__(self) -> None:
        self.events: list[NewEvent] = []

    def append(self, new: list[NewEvent], expected: int | None) -> list[int] | None:
        """The versions that answer, or None for a conflict."""
        held = {event.key for event in self.events} - {None}
        fresh = [event for event in new if event.key not in held]
        if fresh and expected is not None and expected != len(self.events):
            return None
        versions = []
        for event in new:
            keys = [each.key for each in self.events]
            if event.key is not None and event.key in keys:
                versions.append(keys.index(event.key) + 1)
            else:
                self.events.append(event)
                versions.append(len(self.events))
        return versions


def core(event: NewEvent) -> tuple[Any, ...]:
    return (event.type, event.key, dict(event.data))


class LogMachine(RuleBasedStateMachine):
    """Two logs on one database, so that each one's idea of a stream's end is often wrong."""

    dsn: str

    @initialize()
    def begin(self) -> None:
        self.database = Database(self.dsn)
        self.logs = [EventLog(self.database), EventLog(self.database)]
        self.prefix = uuid4().hex
        self.models: dict[str, Model] = defaultdict(Model)
        self.place: Place = self.logs[0].follow(limit=1_000_000).place
        self.followed: dict[str, list[Event]] = defaultdict(list)

    def name(self, stream: str) -> str:
        return f"{self.prefix}/{stream}"

    @rule(stream=STREAMS, batch=BATCHES, which=st.booleans(), expected=st.sampled_from(["any", "right", "wrong"]))
    def append(self, stream: str, batch: list[NewEvent], which: bool, expected: str) -> None:
        model = self.models[stream]
        number = {"any": None, "right": len(model.events), "wrong": len(model.events) + 1}[expected]
        answer = model.append(batch, number) if batch else []
        try:
            events = self.logs[which].append(self.name(stream), batch, expected=number)
        except ConcurrencyError:
            assert answer is None
        else:
            assert [event.version for event in events] == answer
            assert [core(event) for event in events] == [core(model.events[version - 1]) for version in answer]

    @rule(stream=STREAMS, batches=st.lists(BATCHES.filter(bool), min_size=2, max_size=4), wrong=st.integers(0, 6))
    def append_at_once(self, stream: str, batches: list[list[NewEvent]], wrong: int) -> None:
        model = self.models[stream]
        expected = [10_000 if number == wrong else None for number in range(len(batches))]
        answers = [model.append(batch, version) for batch, version in zip(batches, expected, strict=True)]

        async def append() -> list[Any]:
            database = Database(self.dsn)
            log = EventLog(database)
            calls = [
                log.aappend(self.name(stream), batch, expected=version)
                for batch, version in zip(batches, expected, strict=True)
            ]
            try:
                return await asyncio.gather(*calls, return_exceptions=True)
            finally:
                await database.aclose()

        for result, answer in zip(asyncio.run(append()), answers, strict=True):
            if answer is None:
                assert isinstance(result, ConcurrencyError)
            else:
                assert [event.version for event in result] == answer

    @rule(stream=STREAMS, steps=st.sampled_from([None, [], ["s"], ["s", "t"]]), after=st.integers(0, 5))
    def read(self, stream: str, steps: list[str] | None, after: int) -> None:
        wanted = [
            core(event)
            for event in self.models[stream].events[after:]
            if steps is None or event.data.get("step") in [None, *steps]
        ]
        found = self.logs[0].read(self.name(stream), after_version=after, steps=steps)
        assert [core(event) for event in found] == wanted

    @rule(limit=st.integers(1, 5))
    def follow(self, limit: int) -> None:
        page = self.logs[0].follow(self.place, limit=limit)
        self.place = page.place
        for event in self.logs[0].resolve(page.events):
            self.followed[event.stream].append(event)

    @invariant()
    def followers_are_at_a_prefix(self) -> None:
        for stream, model in getattr(self, "models", {}).items():
            seen = [core(event) for event in self.followed[self.name(stream)]]
            assert seen == [core(event) for event in model.events[: len(seen)]]

    def teardown(self) -> None:
        if not hasattr(self, "models"):
            return
        while self.place != (page := self.logs[0].follow(self.place)).place:
            self.place = page.place
            for event in self.logs[0].resolve(page.events):
                self.followed[event.stream].append(event)
        for stream, model in self.models.items():
            name = self.name(stream)
            assert [core(event) for event in self.followed[name]] == [core(event) for event in model.events]
            assert list(self.logs[1].read(name)) == self.followed[name]
            assert self.logs[0].verify(name) is None
        self.database.close()


def test_the_log_does_what_its_model_does(dsn: str) -> None:
    LogMachine.dsn = dsn
    run_state_machine_as_test(
        LogMachine,
        settings=settings(
            max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
