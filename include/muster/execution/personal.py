"""The log of runs with personal data: events are sealed before they are written, and opened for those who may read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from muster import language
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
from muster.events.payloads.work import StepExpanded, StepExtended
from muster.events.personal import Vault
from muster.events.sealing import AND, SEALED, WITHHELD, Keys, Seals, open_all, seal, sealed_ids
from muster.events.structure import SKIPPED, Seal, seal_data
from muster.events.verified import VerifiedLog
from muster.execution.outcome import Outcome
from muster.redaction import redact_data

if TYPE_CHECKING:
    from muster.language import Definition

RUNS_KEPT = 1_024
CONCEALED = {SEALED: "only in the log"}
"""The value in XCom in place of personal data."""


class _Rules(NamedTuple):
    """The subject of one run, and the definition that says which of its outputs are personal."""

    subject: str
    definition: Definition


class _Unknown(Enum):
    """Marks a run whose subject was not looked up yet, or has dropped out of the cache."""

    UNKNOWN = "unknown"


_UNKNOWN = _Unknown.UNKNOWN


_LISTS: Mapping[str, type[StepExpanded | StepExtended]] = {
    EventType.STEP_EXPANDED: StepExpanded,
    EventType.STEP_EXTENDED: StepExtended,
}


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
        if (list_ := _LISTS.get(event.type)) is not None and is_impersonal(self.rules.definition, data.get("step")):
            # What came of the tasks of a team stays, so the names under which it is found have to.
            data |= {"names": list_.of(event).names} if "names" in data else {}
        if "output" in data:
            step, definition = data.get("step"), self.rules.definition
            # `impersonal` speaks of the step's own output. A compensation gives back another one, which may be
            # personal.
            if event.type == EventType.STEP_SUCCEEDED and is_impersonal(definition, step):
                data["output"] = with_personal(definition, step, data["output"], self.value)
            else:
                data["output"] = seal_output(kind_of(definition, step), data["output"], self.value)
        return replace(event, data=data)


class PersonalCodec:
    """Seals and opens the events of a run about somebody, all but their structure (`muster.events.structure`)."""

    def __init__(self, database: Database, master: Callable[[], bytes], look: Look) -> None:
        self._look, self._vault, self._definitions = look, Vault(master), DefinitionStore(database)
        self._rules: BoundedCache[str, _Rules | None] = BoundedCache(RUNS_KEPT)

    def is_about_nobody(self, stream: str) -> bool:
        """True when the stream is known to hold nothing personal."""
        # One `get`: between `in` and `[]` another thread may push the entry out of the cache.
        return self._rules.get(stream, _UNKNOWN) is None

    is_plain = is_about_nobody

    def subject(self, stream: str) -> Work[str | None]:
        """The id of the run's subject; None when the run is about nobody, or not opened yet."""
        rules = yield from self._rules_of(stream, ())
        return None if rules is None else rules.subject

    def digest(self, name: str) -> str:
        """A keyed hash of a name, under the master key."""
        return self._vault.name_id(name)

    def seals(self, stream: str) -> Work[Seals | None]:
        """The seals of the run's subject, without a key when it was forgotten; None when the run is about nobody."""
        rules = yield from self._rules_of(stream, ())
        if rules is None:
            return None
        keys = yield from self._vault.keys([rules.subject])
        return Seals(rules.subject, keys.get(rules.subject), stream)

    def open(self, stream: str, events: Sequence[Event]) -> Work[list[Event]]:
        """The events with sealed values opened; values whose key is gone are marked as forgotten."""
        if not events or not (yield from self._may_hold_seals(stream, events)):
            return list(events)
        ids = set[str]().union(*(sealed_ids(event.data) for event in events))
        keys = (yield from self._vault.keys(sorted(ids))) if ids else {}
        return [replace(event, data=open_all(event.data, keys, stream)) for event in events]

    def _may_hold_seals(self, stream: str, events: Sequence[Event]) -> Work[bool]:
        try:
            # Whoever reads a run from its beginning has just read what opened it.
            opened = [event for event in events if event.key == OPENED]
            return (yield from self._rules_of(stream, (), opened)) is not None
        except DefinitionGone:
            # Reading must work without the definition. Sealed values are marked as such, so look for them in the
            # events.
            return True

    def seal(self, stream: str, events: Sequence[NewEvent]) -> Work[list[NewEvent]]:
        """The events as they are stored, redacted and sealed; unchanged when the run is about nobody."""
        # The key is read for each append and not kept in memory: `muster forget` in another process takes effect at
        # once.
        rules = yield from self._rules_of(stream, events)
        if rules is None:
            return list(events)
        sealer = _Sealer(rules, (yield from self._vault.keys([rules.subject])), stream)
        # Redacted first: in sealed text the redaction could not find a secret.
        return [sealer.event(replace(event, data=redact_data(event.data))) for event in events]

    def _rules_of(self, stream: str, events: Sequence[NewEvent], stored: Sequence[Event] = ()) -> Work[_Rules | None]:
        """The run's rules, from its `run.opened`, stored or among `events`. Kept, because they never change.

        Args:
            stored: That event, if the caller has read it.
        """
        known = self._rules.get(stream, _UNKNOWN)
        if not isinstance(known, _Unknown):
            return known
        stored = stored or (yield from self._look(stream, [OPENED]))
        if not stored:
            new = next((event for event in events if event.type == EventType.RUN_OPENED), None)
            # Not kept until `run.opened` is stored: before that the run may still turn out to be about somebody, and if
            # two processes open it at once, the first one's event decides about whom. A kept answer could be wrong.
            return None if new is None else (yield from self._rules_for(stream, new))
        said = RunOpened.of(stored[0])
        subject = said.subject
        rules = None if subject is None else _Rules(subject, (yield from self._definition(said.definition)))
        self._rules[stream] = rules
        return rules

    def _rules_for(self, stream: str, opened: NewEvent) -> Work[_Rules | None]:
        """The rules of a run that is about to be opened.

        Its subjects are those of the run that has asked for it, and those that its automation names.
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
            # If the inputs name nobody, the run gets a subject of its own: its inputs do not fit, but they may be
            # personal all the same, and nothing personal is written in the clear.
            for name in names or [f"run {stream}"]:
                subjects.append((yield from self._vault.enrol(name)))
        return _Rules(AND.join(dict.fromkeys(subjects)), definition) if subjects else None

    def _definition(self, hash: str) -> Work[Definition]:
        content = yield from self._definitions.reading(hash)
        return _parsed(content)


class PersonalLog(EventLog):
    """The log for people to read: its events are opened."""

    def __init__(self, database: Database, master: Callable[[], bytes]) -> None:
        super().__init__(database, partial(PersonalCodec, database, master))


class RunLog(VerifiedLog):
    """The log for performing runs: every read verifies that events are as they were written, and opens them."""

    def __init__(self, database: Database, master: Callable[[], bytes]) -> None:
        super().__init__(database, partial(PersonalCodec, database, master))


def kind_of(definition: Definition, step: object) -> str | None:
    """The kind of a step; None when there is no such step."""
    return next((candidate.kind for candidate in definition.steps if candidate.id == step), None)


def is_impersonal(definition: Definition, step: object) -> bool:
    """True when the automation says that the step's output is about nobody, except for the fields that it names."""
    return definition.personal is not None and step in definition.personal.impersonal


def with_personal(definition: Definition, step: Any, output: object, change: Seal) -> object:
    """The output of an impersonal step, with `change` applied to the fields that are personal all the same."""
    for path in definition.personal.outputs.get(step, ()) if definition.personal is not None else ():
        output = _changed_at(output, path.split(".") if path else (), change)
    return output


def _changed_at(value: object, path: Sequence[str], change: Seal) -> object:
    """`value` with `change` applied at `path`; in a list it is applied to every element."""
    if not path:
        return change(value)
    if isinstance(value, list):
        return [_changed_at(inner, path, change) for inner in value]
    if isinstance(value, Mapping) and path[0] in value:
        return {**value, path[0]: _changed_at(value[path[0]], path[1:], change)}
    return value


def seal_output(kind: str | None, output: object, seal: Seal) -> object:
    """The output of a step of that kind, with everything sealed but its structure."""
    known = language.KINDS[kind].resolved if kind in language.KINDS else None
    if known is not None and known.chooses:
        return output  # The names of steps.
    if known is not None and known.plain_output and isinstance(output, Mapping):
        return {name: value if name in known.plain_output else seal(value) for name, value in output.items()}
    return seal(output)


def conceal(outcome: Outcome, kind: str | None) -> Outcome:
    """The outcome of a step in a run about somebody as Airflow may know it, because Airflow forgets nobody."""
    if outcome.structural == "all":
        return outcome
    output, reason = outcome.output, outcome.reason
    if outcome.structural == "nothing" and output is not None:
        output = seal_output(kind, output, lambda value: None if value is None else dict(CONCEALED))
    # The reason is a mapping, the marker of forgotten data, when the run's subject was forgotten since.
    is_own = reason is None or (isinstance(reason, str) and reason in SKIPPED)
    return replace(outcome, output=output, reason=reason if is_own else WITHHELD)


@lru_cache(maxsize=128)
def _parsed(content: str) -> Definition:
    return language.Definition.model_validate_json(content)


class SubjectDoesNotFit(PermanentError):
    """The inputs do not say whom a run is about: the run fails, and a person triggers it again with others."""


def names_of(definition: Definition, inputs: Mapping[str, object]) -> list[str]:
    """The names of the people whom a run with these inputs is about; empty when an input is missing.

    Raises:
        SubjectDoesNotFit: the expression fails, or gives something that is no name. The message repeats no value.
    """
    if definition.personal is None:
        return []
    known = {"inputs": inputs, "settings": definition.settings}
    try:
        subject = language.evaluate(definition.personal.subject, known, where="personal, subject")
    except PermanentError:
        # `from None`, and words of our own: the error of the expression may quote a personal input.
        raise SubjectDoesNotFit("personal.subject: cannot be worked out from them") from None
    names = subject if isinstance(subject, list | tuple) else [subject]
    if any(isinstance(name, bool) or not isinstance(name, str | int | float | None) for name in names):
        raise SubjectDoesNotFit("personal.subject: gives something other than texts and numbers")
    return [str(name) for name in names if name is not None and str(name).strip()]
