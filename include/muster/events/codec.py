"""How events are sealed on their way into the log, and opened on their way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from muster.errors import MusterError
from muster.events import statements
from muster.events.driver import Work
from muster.events.model import Event, NewEvent
from muster.events.sealing import Seals

Look: TypeAlias = Callable[[str, Sequence[str]], Work[list[Event]]]
"""The events of a stream that were appended under these keys, as they are stored."""


class Codec(Protocol):
    """Seals events before they are written, and opens events that are read."""

    def is_plain(self, stream: str) -> bool:
        """True when nothing of a stream is sealed or opened, so that nothing need be asked."""
        ...

    def is_about_nobody(self, stream: str) -> bool:
        """True when it is known, without asking, that the stream is of a run about nobody."""
        ...

    def seal(self, stream: str, events: Sequence[NewEvent]) -> Work[list[NewEvent]]:
        """Events as they are stored."""
        ...

    def open(self, stream: str, events: Sequence[Event]) -> Work[list[Event]]:
        """Stored events with their sealed values opened, or marked as forgotten."""
        ...

    def subject(self, stream: str) -> Work[str | None]:
        """The id of a run's subject; None when it is about nobody, or not opened yet."""
        ...

    def seals(self, stream: str) -> Work[Seals | None]:
        """The seals of a run's subject; None when it is about nobody."""
        ...

    def digest(self, name: str) -> str:
        """A keyed hash of a name.

        Raises:
            MusterError: there is no key.
        """
        ...


class Plain:
    """The codec of a log without a key: sealed values stay sealed, and new events are written as they are."""

    def __init__(self, look: Look) -> None:
        """`look` is not used."""

    def is_plain(self, stream: str) -> bool:
        """Always."""
        return True

    def is_about_nobody(self, stream: str) -> bool:
        """Never: it is not known without asking."""
        return False

    def seal(self, stream: str, events: Sequence[NewEvent]) -> Work[list[NewEvent]]:
        """The same events."""
        yield from ()
        return list(events)

    def open(self, stream: str, events: Sequence[Event]) -> Work[list[Event]]:
        """The same events."""
        yield from ()
        return list(events)

    def subject(self, stream: str) -> Work[str | None]:
        """The id, from the run's row."""
        answers = yield [statements.subject(stream)]
        return answers[0][0][0] if answers[0] else None

    def seals(self, stream: str) -> Work[Seals | None]:
        """Seals without a key: they keep nothing."""
        subject = yield from self.subject(stream)
        return None if subject is None else Seals(subject, None, stream)

    def digest(self, name: str) -> str:
        """Always raises: there is no key."""
        raise MusterError("This log has no key.", remedy="Ask the log that execution uses.")
