"""The log of runs with personal data: sealed before it is written, opened for those who may read it."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from muster.database import Database
from muster.errors import PermanentError
from muster.events.definitions import DefinitionGone, DefinitionStore
from muster.events.driver import Work, arun, run
from muster.events.log import READ_PAGE, EventLog
from muster.events.model import Event, EventType, NewEvent
from muster.events.personal import SEALED, Keys, Vault, open_all, seal, sealed_ids
from muster.events.verified import VerifiedLog
from muster.execution.outcome import Outcome
from muster.execution.references import OPENED
from muster.language.definition import WITHHELD, Definition, ResolvedPersonal
from muster.language.expressions import evaluate
from muster.redaction import redact_data

SPEAKING = ("output", "input", "prompt", "response", "arguments", "result", "subject", "note", "text", "target", "item")
"""What events of a step say in words of their own: it may repeat anything the step has read."""
RUNS_KEPT = 1_024
CONCEALED = {SEALED: "only in the log"}
"""What XCom holds in place of personal data."""


class _Rules(NamedTuple):
    """What is personal in one run, and whose it is."""

    personal: ResolvedPersonal
    subject: str


@dataclass(frozen=True)
class _Sealer:
    """Seals values of one stream under one subject's key."""

    rules: _Rules
    keys: Keys
    stream: str

    def value(self, value: Any) -> Any:
        """Any value, sealed."""
        id = self.rules.subject
        return seal(value, id=id, key=self.keys.get(id), stream=self.stream)

    def path(self, value: Any, path: Sequence[str]) -> Any:
        """`value` with what is at `path` in it sealed; a list is gone through."""
        if not path:
            return self.value(value)
        if isinstance(value, list):
            return [self.path(inner, path) for inner in value]
        if isinstance(value, Mapping) and path[0] in value:
            return {**value, path[0]: self.path(value[path[0]], path[1:])}
        return value

    def data(self, event: NewEvent) -> Mapping[str, Any]:
        """The event's data as it is stored."""
        personal, data = self.rules.personal, dict(event.data)
        if event.type == EventType.RUN_OPENED:
            inputs = data["inputs"]
            for path in personal.inputs:
                inputs = self.path(inputs, path.split("."))
            return {**data, "inputs": inputs, "subject": self.rules.subject}
        step = data.get("step")
        if not isinstance(step, str) or not personal.touches(step):
            return data
        return self._of_step(data, personal.outputs.get(step, ("",)))

    def _of_step(self, data: dict[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
        for name in SPEAKING:
            if name != "output" and name in data:
                data[name] = self.value(data[name])
        for path in outputs:
            if "output" in data:
                data["output"] = self.path(data["output"], path.split(".") if path else ())
        if isinstance(error := data.get("error"), Mapping):
            data["error"] = {**error, **{name: self.value(error.get(name)) for name in ("message", "remedy")}}
        if isinstance(findings := data.get("findings"), list):
            data["findings"] = [self.value(finding) for finding in findings]
        return data


class PersonalLog(EventLog):
    """The log as execution uses it: what is marked as personal is sealed on its way in and opened on its way out."""

    def __init__(self, database: Database, master: Callable[[], bytes]) -> None:
        super().__init__(database)
        self._vault = Vault(master)
        self._rules: OrderedDict[str, _Rules | None] = OrderedDict()

    def append(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        correlation: str | None = None,
    ) -> list[Event]:
        """Append with personal data sealed; the events come back opened."""
        prepared = run(self._database, self._seal(stream, events))
        written = super().append(stream, prepared, expected=expected, correlation=correlation)
        return run(self._database, self._open(stream, written))

    async def aappend(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        correlation: str | None = None,
    ) -> list[Event]:
        """`append` for coroutines."""
        if self._is_plain(stream):
            return await super().aappend(stream, events, expected=expected, correlation=correlation)
        prepared = await arun(self._database, self._seal(stream, events))
        written = await super().aappend(stream, prepared, expected=expected, correlation=correlation)
        return await arun(self._database, self._open(stream, written))

    def read(
        self,
        stream: str,
        *,
        after_version: int = 0,
        steps: Collection[str] | None = None,
        types: Collection[str] | None = None,
    ) -> Iterator[Event]:
        """The stream's events in order, opened."""
        found = super().read(stream, after_version=after_version, steps=steps, types=types)
        while page := list(itertools.islice(found, READ_PAGE)):
            yield from run(self._database, self._open(stream, page))

    async def aread(
        self,
        stream: str,
        *,
        after_version: int = 0,
        steps: Collection[str] | None = None,
        types: Collection[str] | None = None,
    ) -> AsyncIterator[Event]:
        """`read` for coroutines."""
        page: list[Event] = []
        async for event in super().aread(stream, after_version=after_version, steps=steps, types=types):
            if self._is_plain(stream):
                yield event
                continue
            page.append(event)
            if len(page) == READ_PAGE:
                for each in await arun(self._database, self._open(stream, page)):
                    yield each
                page = []
        for each in await arun(self._database, self._open(stream, page)) if page else ():
            yield each

    def under_keys(self, stream: str, keys: Sequence[str]) -> dict[str, Event]:
        """The stream's events under these keys, opened."""
        return run(self._database, self._open_by_key(stream, super().under_keys(stream, keys)))

    async def aunder_keys(self, stream: str, keys: Sequence[str]) -> dict[str, Event]:
        """`under_keys` for coroutines."""
        found = await super().aunder_keys(stream, keys)
        if not found or self._is_plain(stream):
            return found
        return await arun(self._database, self._open_by_key(stream, found))

    def _is_plain(self, stream: str) -> bool:
        """True when the stream is known to hold nothing personal."""
        return stream in self._rules and self._rules[stream] is None

    def _open_by_key(self, stream: str, found: Mapping[str, Event]) -> Work[dict[str, Event]]:
        opened = yield from self._open(stream, list(found.values()))
        return dict(zip(found, opened, strict=True))

    def _open(self, stream: str, events: Sequence[Event]) -> Work[list[Event]]:
        """Events with what was sealed opened, or marked as forgotten."""
        if not events or not (yield from self._may_hold_seals(stream)):
            return list(events)
        ids = set[str]().union(*(sealed_ids(event.data) for event in events))
        keys = (yield from self._vault.keys(sorted(ids))) if ids else {}
        return [replace(event, data=open_all(event.data, keys, stream)) for event in events]

    def _may_hold_seals(self, stream: str) -> Work[bool]:
        try:
            return (yield from self._rules_of(stream, ())) is not None
        except DefinitionGone:
            # What is sealed says so itself: to read, the definition only saves looking for it.
            return True

    def _seal(self, stream: str, events: Sequence[NewEvent]) -> Work[list[NewEvent]]:
        """Events with what is marked sealed. The key is asked for each time: it may be gone by now."""
        rules = yield from self._rules_of(stream, events)
        if rules is None:
            return list(events)
        sealer = _Sealer(rules, (yield from self._vault.keys([rules.subject])), stream)
        # Redacted first: sealed, a secret is not found any more.
        clean = (replace(event, data=redact_data(event.data)) for event in events)
        return [replace(event, data=sealer.data(event)) for event in clean]

    def _rules_of(self, stream: str, events: Sequence[NewEvent]) -> Work[_Rules | None]:
        """The run's rules, from the event that opened it, stored or about to be; kept, for they never change."""
        if stream in self._rules:
            return self._rules[stream]
        stored = yield from self._under_keys(stream, [OPENED])
        new = [event for event in events if event.type == EventType.RUN_OPENED]
        opened: NewEvent | None = next(iter([*stored, *new]), None)
        if opened is None:
            return None
        definition = yield from self._definition(opened.data["definition"])
        personal = definition.personal
        if personal is None:
            rules = None
        elif stored:
            rules = _Rules(personal, opened.data["subject"])
        else:
            return _Rules(personal, (yield from self._vault.enrol(_name(personal, definition, opened, stream))))
        if stored:
            self._rules[stream] = rules
            while len(self._rules) > RUNS_KEPT:
                self._rules.popitem(last=False)
        return rules

    def _definition(self, hash: str) -> Work[Definition]:
        content = yield from self._definitions.reading(hash)
        return _parsed(content)

    @cached_property
    def _definitions(self) -> DefinitionStore:
        return DefinitionStore(self._database)


class RunLog(PersonalLog, VerifiedLog):
    """The log as runs are gone on with: every read is of events as they were written, and opened."""


def conceal(definition: Definition, step: str, outcome: Outcome) -> Outcome:
    """What others than the log may know of how a step with personal data ended: Airflow forgets nobody."""
    if not definition.is_personal(step):
        return outcome
    said = outcome.reason is not None and (outcome.status == "failed" or outcome.reason.startswith("set aside"))
    return Outcome(
        status=outcome.status,
        output=None if outcome.output is None else dict(CONCEALED),
        reason=WITHHELD if said else outcome.reason,
    )


def conceal_inputs(definition: Definition, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A run's inputs without those that hold personal data."""
    marked = {path.partition(".")[0] for path in definition.personal.inputs} if definition.personal else set()
    return {name: dict(CONCEALED) if name in marked else value for name, value in inputs.items()}


@lru_cache(maxsize=128)
def _parsed(content: str) -> Definition:
    return Definition.model_validate_json(content)


def _name(personal: ResolvedPersonal, definition: Definition, opened: NewEvent, stream: str) -> str:
    """Whose data it is. A run that names nobody, because an input is missing, has a subject of its own: nothing
    personal is ever written in the clear.
    """
    known = {"inputs": opened.data["inputs"], "settings": definition.settings}
    try:
        found = evaluate(personal.subject, known, where="personal, subject")
    except PermanentError:
        found = None
    return str(found) if found not in (None, "", [], {}) else f"run {stream}"
