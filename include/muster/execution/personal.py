"""The log of runs with personal data: sealed before it is written, opened for those who may read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache, partial
from typing import Any, NamedTuple

from muster.bounded_cache import BoundedCache
from muster.database import Database
from muster.errors import PermanentError
from muster.events.codec import Look
from muster.events.definitions import DefinitionGone, DefinitionStore
from muster.events.driver import Work
from muster.events.keys import OPENED
from muster.events.log import EventLog
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.runs import RunOpened
from muster.events.personal import Vault
from muster.events.sealing import AND, SEALED, WITHHELD, Keys, Seals, open_all, seal, sealed_ids
from muster.events.structure import SKIPPED, Seal, seal_data
from muster.events.verified import VerifiedLog
from muster.execution.outcome import Outcome
from muster.language.definition import Definition
from muster.language.expressions import evaluate
from muster.language.kinds import KINDS
from muster.redaction import redact_data

RUNS_KEPT = 1_024
CONCEALED = {SEALED: "only in the log"}
"""What XCom holds in place of personal data."""


class _Rules(NamedTuple):
    """Whom one run is about, and by what its events are told apart."""

    subject: str
    definition: Definition


class _Unknown(Enum):
    """That nobody has asked yet whom a run is about, or that it was forgotten."""

    UNKNOWN = "unknown"


_UNKNOWN = _Unknown.UNKNOWN


@dataclass(frozen=True)
class _Sealer:
    """Seals what events of one stream say, under the key of the stream's subject."""

    rules: _Rules
    keys: Keys
    stream: str

    def value(self, value: object) -> object:
        """Any value, sealed."""
        id = self.rules.subject
        return seal(value, id=id, key=self.keys.get(id), stream=self.stream)

    def event(self, event: NewEvent) -> NewEvent:
        """The event as it is stored."""
        data = seal_data(event.type, event.data, self.value)
        if event.type == EventType.RUN_OPENED:
            data["subject"] = self.rules.subject
        if "output" in data:
            step, definition = data.get("step"), self.rules.definition
            # What undoing it gave back is another output, of which nobody has said that it is about nobody.
            if event.type == EventType.STEP_SUCCEEDED and is_impersonal(definition, step):
                data["output"] = with_personal(definition, step, data["output"], self.value)
            else:
                data["output"] = seal_output(kind_of(definition, step), data["output"], self.value)
        return replace(event, data=data)


class PersonalCodec:
    """Seals the events of a run that is about somebody, and opens them; all but structure, which is stored as it is
    (`muster.events.structure`).
    """

    def __init__(self, database: Database, master: Callable[[], bytes], look: Look) -> None:
        self._look, self._vault, self._definitions = look, Vault(master), DefinitionStore(database)
        self._rules: BoundedCache[str, _Rules | None] = BoundedCache(RUNS_KEPT)

    def is_about_nobody(self, stream: str) -> bool:
        """True when the stream is known to hold nothing personal."""
        # Looked up once: another thread may forget it between two looks.
        return self._rules.get(stream, _UNKNOWN) is None

    is_plain = is_about_nobody

    def subject(self, stream: str) -> Work[str | None]:
        """The id of whom a run is about; None when it is about nobody, or not opened yet."""
        rules = yield from self._rules_of(stream, ())
        return None if rules is None else rules.subject

    def digest(self, name: str) -> str:
        """A keyed hash of a name, under the master key."""
        return self._vault.name_id(name)

    def seals(self, stream: str) -> Work[Seals | None]:
        """What seals for whom the run is about; None when it is about nobody."""
        rules = yield from self._rules_of(stream, ())
        if rules is None:
            return None
        keys = yield from self._vault.keys([rules.subject])
        return Seals(rules.subject, keys.get(rules.subject), stream)

    def open(self, stream: str, events: Sequence[Event]) -> Work[list[Event]]:
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

    def seal(self, stream: str, events: Sequence[NewEvent]) -> Work[list[NewEvent]]:
        """Events as they are stored. The key is asked for each time: it may be gone by now."""
        rules = yield from self._rules_of(stream, events)
        if rules is None:
            return list(events)
        sealer = _Sealer(rules, (yield from self._vault.keys([rules.subject])), stream)
        # Redacted first: sealed, a secret is not found any more.
        return [sealer.event(replace(event, data=redact_data(event.data))) for event in events]

    def _rules_of(self, stream: str, events: Sequence[NewEvent]) -> Work[_Rules | None]:
        """The run's rules, from the event that opened it, stored or about to be; kept, for they never change."""
        known = self._rules.get(stream, _UNKNOWN)
        if not isinstance(known, _Unknown):
            return known
        stored = yield from self._look(stream, [OPENED])
        if not stored:
            new = next((event for event in events if event.type == EventType.RUN_OPENED), None)
            # Neither is kept: before it is opened a run may still turn out to be about somebody, and of two processes
            # that open it the first one's event says about whom.
            return None if new is None else (yield from self._rules_for(stream, new))
        said = RunOpened.of(stored[0])
        subject = said.subject
        rules = None if subject is None else _Rules(subject, (yield from self._definition(said.definition)))
        self._rules[stream] = rules
        return rules

    def _rules_for(self, stream: str, opened: NewEvent) -> Work[_Rules | None]:
        """The rules of a run that is about to be opened: it is about whom its automation names, and about whom the run
        is that has asked for it.
        """
        said = RunOpened.of(opened)
        definition = yield from self._definition(said.definition)
        subjects: list[str] = []
        if said.parent is not None:
            asked_by = yield from self._rules_of(said.parent["run"], ())
            subjects += [] if asked_by is None else asked_by.subject.split(AND)
        if definition.personal is not None:
            try:
                names = names_of(definition, said.inputs)
            except SubjectDoesNotFit:
                names = []
            # A run that names nobody has a subject of its own: nothing personal is ever written in the clear.
            for name in names or [f"run {stream}"]:
                subjects.append((yield from self._vault.enrol(name)))
        return _Rules(AND.join(dict.fromkeys(subjects)), definition) if subjects else None

    def _definition(self, hash: str) -> Work[Definition]:
        content = yield from self._definitions.reading(hash)
        return _parsed(content)


class PersonalLog(EventLog):
    """The log as people read it: opened."""

    def __init__(self, database: Database, master: Callable[[], bytes]) -> None:
        super().__init__(database, partial(PersonalCodec, database, master))


class RunLog(VerifiedLog):
    """The log as runs are gone on with: every read is of events as they were written, and opened."""

    def __init__(self, database: Database, master: Callable[[], bytes]) -> None:
        super().__init__(database, partial(PersonalCodec, database, master))


def kind_of(definition: Definition, step: object) -> str | None:
    """The kind of a step; None when there is no such step."""
    return next((each.kind for each in definition.steps if each.id == step), None)


def is_impersonal(definition: Definition, step: object) -> bool:
    """True when the automation says that what the step gives back is about nobody, but for the fields it names."""
    return definition.personal is not None and step in definition.personal.impersonal


def with_personal(definition: Definition, step: Any, output: object, change: Seal) -> object:
    """What an impersonal step gave back, with the fields changed that are about somebody all the same."""
    for path in definition.personal.outputs.get(step, ()) if definition.personal is not None else ():
        output = _changed_at(output, path.split(".") if path else (), change)
    return output


def _changed_at(value: object, path: Sequence[str], change: Seal) -> object:
    """`value` with what is at `path` in it changed; a list is gone through."""
    if not path:
        return change(value)
    if isinstance(value, list):
        return [_changed_at(inner, path, change) for inner in value]
    if isinstance(value, Mapping) and path[0] in value:
        return {**value, path[0]: _changed_at(value[path[0]], path[1:], change)}
    return value


def seal_output(kind: str | None, output: object, seal: Seal) -> object:
    """What a step of that kind gave back, with everything sealed but its structure."""
    known = KINDS[kind].resolved if kind in KINDS else None
    if known is not None and known.chooses:
        return output  # The names of steps.
    if known is not None and known.plain_output and isinstance(output, Mapping):
        return {name: value if name in known.plain_output else seal(value) for name, value in output.items()}
    return seal(output)


def conceal(outcome: Outcome, kind: str | None) -> Outcome:
    """What others than the log may know of how a step ended in a run about somebody: Airflow forgets nobody."""
    if outcome.structural == "all":
        return outcome
    output, reason = outcome.output, outcome.reason
    if outcome.structural == "nothing" and output is not None:
        output = seal_output(kind, output, lambda value: None if value is None else dict(CONCEALED))
    # Of somebody who was forgotten since it is a mapping.
    is_own = reason is None or (isinstance(reason, str) and reason in SKIPPED)
    return replace(outcome, output=output, reason=reason if is_own else WITHHELD)


@lru_cache(maxsize=128)
def _parsed(content: str) -> Definition:
    return Definition.model_validate_json(content)


class SubjectDoesNotFit(PermanentError):
    """Nobody can say whom a run is about."""


def names_of(definition: Definition, inputs: Mapping[str, object]) -> list[str]:
    """Whom a run with these inputs is about; nobody where an input is missing.

    Raises:
        SubjectDoesNotFit: it cannot be worked out, or is something that nobody is called. No value is repeated.
    """
    if definition.personal is None:
        return []
    known = {"inputs": inputs, "settings": definition.settings}
    try:
        found = evaluate(definition.personal.subject, known, where="personal, subject")
    except PermanentError:
        raise SubjectDoesNotFit("personal.subject: cannot be worked out from them") from None
    each = found if isinstance(found, list | tuple) else [found]
    if any(isinstance(name, bool) or not isinstance(name, str | int | float | None) for name in each):
        raise SubjectDoesNotFit("personal.subject: gives something other than texts and numbers")
    return [str(name) for name in each if name is not None and str(name).strip()]
