"""Faults of a rehearsal: actions that fail or happen twice, and a process that dies between two events."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from muster.database import Database
from muster.errors import PermanentError
from muster.events.model import Event, NewEvent
from muster.execution.personal import RunLog
from muster.execution.work_item import ActionResult, WorkItem
from muster.rehearsal.script import Mock


class Crash(BaseException):
    """The process dies. It is no `Exception`, so that no handler records an outcome: a dead process could not."""


@dataclass(frozen=True)
class Faults:
    """The faults of one run; none by default."""

    fail: str | None = None
    """A step that fails for good."""
    after: bool = False
    """True when it fails after it did its work, so that nobody knows it happened."""
    twice: bool = False
    """Every action happens twice, as after a crash between the effect and its record."""
    undo_twice: bool = False
    """The same for every compensation."""
    fail_undo: str | None = None
    """A step whose compensation fails for good."""
    crash: int | None = None
    """The append to the log at which the process dies, counted from 1."""
    when: Literal["before", "after"] = "before"
    """Whether it dies before or after that append is written."""

    def everywhere(self) -> Faults:
        """The faults that happen in child runs as well: all that name no step."""
        return replace(self, fail=None, after=False, fail_undo=None)


NONE = Faults()


@dataclass
class Interference:
    """Stands between a step and its action."""

    automation: str
    """Whose steps the faults and the mocks name: a run that it asks for may have steps of the same name."""
    faults: Faults
    mocks: Mapping[str, Mock] = field(default_factory=dict)

    async def __call__(self, work_item: WorkItem, act: Callable[[], Awaitable[object]]) -> object:
        """The result of the action, or a failure in its place."""
        if work_item.undoes:
            return await self._undo(work_item, act)
        fails = self.faults.fail == work_item.step.id and self._is_named(work_item)
        if fails and not self.faults.after:
            raise PermanentError(f"The rehearsal lets {work_item.step.id} fail.")
        answer = await self._act(work_item, act)
        if fails:
            raise PermanentError(f"The rehearsal lets {work_item.step.id} fail after its work was done.")
        return answer

    async def _act(self, work_item: WorkItem, act: Callable[[], Awaitable[object]]) -> object:
        if self._is_named(work_item) and (mock := self.mocks.get(work_item.step.id)) is not None:
            if mock.fails is not None:
                raise PermanentError(mock.fails)
            return ActionResult(output=mock.output)
        answer = await act()
        # The second call has the same key, as after a crash between the effect and its record.
        return await act() if self.faults.twice else answer

    async def _undo(self, work_item: WorkItem, act: Callable[[], Awaitable[object]]) -> object:
        if self.faults.fail_undo == work_item.step.id and self._is_named(work_item):
            raise PermanentError(f"The rehearsal lets the compensation of {work_item.step.id} fail.")
        answer = await act()
        return await act() if self.faults.undo_twice else answer

    def _is_named(self, work_item: WorkItem) -> bool:
        return bool(work_item.view.definition.name == self.automation)


MASTER = secrets.token_bytes(32)
"""Personal data is sealed as in production, under a master key that is gone with the process."""


class MortalLog(RunLog):
    """The log as execution uses it, whose writer dies at one append, once."""

    def __init__(self, database: Database, faults: Faults, written: list[int]) -> None:
        super().__init__(database, lambda: MASTER)
        self._faults, self._written = faults, written

    async def aappend(
        self,
        stream: str,
        events: Sequence[NewEvent],
        *,
        expected: int | None = None,
        correlation: str | None = None,
        within: Collection[str] | None = None,
    ) -> list[Event]:
        """Append, or die."""
        # All processes of a run share one list. With a count for each, the process that comes back after the crash
        # could die at the append with the same number again.
        self._written.append(1)
        fatal = len(self._written) == self._faults.crash
        if fatal and self._faults.when == "before":
            raise Crash
        stored = await super().aappend(stream, events, expected=expected, correlation=correlation, within=within)
        # The events are in the database, and the process never learns of it: whoever goes on must find them there.
        if fatal:
            raise Crash
        return stored
