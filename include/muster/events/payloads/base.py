"""What an event of each type says: one class per type, which writes the event's data and reads it back.

Reading is lenient, because the log keeps what earlier releases wrote: what an event does not say is None, or what its
field names as `missing`, and what no field knows is passed over. Values are taken as they are, without a check: of a
run that is about somebody a text may be sealed, for whoever reads it without a key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypedDict, dataclass_transform
from uuid import UUID

from muster.errors import MusterError
from muster.events.model import EventType, NewEvent
from muster.redaction import redact

if TYPE_CHECKING:
    from typing import Self

Json: TypeAlias = Any
"""str, int, float, bool, None, lists and dicts with str keys."""
Positions: TypeAlias = Mapping[str, Sequence[int | None]]
"""Positions by step; None stands for a step outside a fan-out."""
LONGEST_MESSAGE = 2_000
"""Characters of an error's message."""


def plain(*, default: object = MISSING, missing: object = None, stored: str | None = None) -> Any:
    """A field that says nothing about a person, and is stored as it is.

    With a `default` it is written only when it differs from that; without one always, and an event of an earlier
    release that lacks it is read as if it said `missing`. `stored` is its name in the log, where that is another one.
    """
    return field(default=default, metadata={"plain": True, "missing": missing, "stored": stored})


def sealed(*, default: object = MISSING, missing: object = None) -> Any:
    """A field that is sealed in a run about a person, as is every field without a specifier."""
    return field(default=default, metadata={"missing": missing})


class ParentWorkItem(TypedDict):
    """The work item that has asked for a run."""

    run: str
    step: str
    index: int | None


class ScheduledFor(TypedDict):
    """The times that Airflow gives a run, as ISO 8601; None where it gives none."""

    at: str | None
    begins: str | None
    ends: str | None


class Place(TypedDict):
    """What every event about a work item says: which it is, and the execution of the run."""

    step: str
    index: int | None
    epoch: int


@dataclass(frozen=True, kw_only=True)
class RecordedError:
    """An error as the log keeps it."""

    class_: str
    """The name of its class."""
    message: str
    remedy: str | None = None
    """What to do about it."""

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """An error in at most `LONGEST_MESSAGE` characters, without secrets."""
        remedy = error.remedy if isinstance(error, MusterError) else None
        # Before it is cut: half a secret is not found any more.
        message = redact(message_of(error))[:LONGEST_MESSAGE]
        return cls(class_=type(error).__name__, message=message, remedy=redact(remedy) if remedy else None)

    @classmethod
    def read(cls, data: Mapping[str, Json]) -> Self:
        """What `data` wrote."""
        return cls(class_=data.get("class", ""), message=data.get("message", ""), remedy=data.get("remedy"))

    def data(self) -> dict[str, Json]:
        """As JSON: class, message, remedy."""
        return {"class": self.class_, "message": self.message, "remedy": self.remedy}


def message_of(error: BaseException) -> str:
    """The message of an error, or the name of its class when it has none."""
    return error.message if isinstance(error, MusterError) else str(error) or type(error).__name__


PAYLOADS: dict[str, type[Payload]] = {}
"""The class of each type of event."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(plain, sealed))
class Payload:
    """What an event of one type says. A field whose name is a keyword of Python ends with `_`, which is not stored."""

    type: ClassVar[EventType]

    def __init_subclass__(cls, type: EventType | None = None) -> None:
        dataclass(frozen=True, kw_only=True)(cls)
        if type is not None:
            cls.type, PAYLOADS[type] = type, cls

    @classmethod
    def of(cls, event: NewEvent) -> Self:
        """What an event says.

        Raises:
            TypeError: it is of another type.
        """
        if event.type != cls.type:
            raise TypeError(f"{event.type} is no {cls.type}")
        said = {}
        for name, stored, unsaid in cls._fields():
            value = event.data.get(stored, unsaid)
            is_error = stored == "error" and isinstance(value, Mapping)
            said[name] = RecordedError.read(value) if is_error else value
        return cls(**said)

    def data(self) -> dict[str, Json]:
        """As an event's data."""
        said = {}
        for declared in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, declared.name)
            if declared.default is MISSING or value != declared.default:
                said[_stored(declared)] = value.data() if isinstance(value, RecordedError) else value
        return said

    def event(self, *, key: str | None = None, actor: str = "muster", causation: UUID | None = None) -> NewEvent:
        """The event that says this."""
        return NewEvent(type=self.type, data=self.data(), key=key, actor=actor, causation=causation)

    @classmethod
    def plain_fields(cls) -> frozenset[str]:
        """The fields that say nothing about a person, as they are stored."""
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        return frozenset(_stored(declared) for declared in fields if declared.metadata.get("plain"))

    @classmethod
    @cache
    def _fields(cls) -> tuple[tuple[str, str, object], ...]:
        """Each field's name, its name in the data, and what it is where the data lacks it."""
        return tuple(
            (
                declared.name,
                _stored(declared),
                declared.metadata.get("missing") if declared.default is MISSING else declared.default,
            )
            for declared in dataclasses.fields(cls)  # type: ignore[arg-type]
        )


def _stored(field: dataclasses.Field[Any]) -> str:
    """A field's name in the data."""
    return field.metadata.get("stored") or field.name.rstrip("_")


def payload_of(event: NewEvent) -> Payload | None:
    """What an event says; None for an unknown type."""
    payload = PAYLOADS.get(event.type)
    return None if payload is None else payload.of(event)


class OfStep(Payload):
    """What every event about a step says."""

    step: str = plain()
    epoch: int = plain(missing=0)
    """The execution of the run."""


class OfWork(OfStep):
    """What every event about a work item says: a step, or an item of one."""

    index: int | None = plain()
    """The item's position; None outside a fan-out, and for a fan-out as a whole."""
