"""The services that the domain gets from outside: database, log, models, notices, clock and folders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from muster.agents.models import ModelProvider
from muster.database import Database
from muster.events.coalesce import Coalescer
from muster.events.definitions import DefinitionStore
from muster.events.lifecycle import LIFECYCLE_EVENTS, RunLifecycle
from muster.events.model import Event, EventType
from muster.events.queries import Queries
from muster.events.verified import VerifiedLog
from muster.execution.references import WorkRef
from muster.execution.workspaces import earlier_workspace_of, workspace_of
from muster.notifications.sender import Sender
from muster.recovery.heartbeats import last_heartbeats
from muster.recovery.leases import Leases


def utc_now() -> datetime:
    """The clock, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything a step may reach outside its own process."""

    database: Database
    log: VerifiedLog
    definitions: DefinitionStore
    models: ModelProvider
    notices: Sender
    artifacts: Path
    """Folder under which each run has one of its own for the files it makes."""
    site: Path | None = None
    """Folder of the site's own skills."""
    readable: tuple[Path, ...] = ()
    """Folders whose files every automation may read, besides those that its own triggers and settings name."""
    pinned: Callable[[str | None], Path | None] = lambda version: None
    """Where a version of the Dag bundle keeps the site's own skills; None when that is not known."""
    page: Callable[[WorkRef], str | None] = lambda ref: None
    """Where in Airflow's UI a question is answered; None when that is not known."""
    clock: Callable[[], datetime] = utc_now
    rng: Random = field(default_factory=Random)
    """Draws the waits between attempts; a seeded one makes them repeatable."""
    intercept: Callable[[Any, Callable[[], Awaitable[object]]], Awaitable[object]] | None = None
    """Stands between a work item and its action when an automation is rehearsed."""

    @cached_property
    def queries(self) -> Queries:
        """The projections, for questions that would cost too much from the log."""
        return Queries(self.database)

    @cached_property
    def leases(self) -> Leases:
        """The leases behind the `lock` of steps."""
        return Leases(self.database)

    @cached_property
    def lives(self) -> Coalescer[None, RunLifecycle]:
        """The life cycles of runs, which decide whether work may begin; questions that come together share a read."""
        return Coalescer(self._lives)

    @cached_property
    def failures(self) -> Coalescer[tuple[str, int], list[Event]]:
        """The `step.failed` events of a step after a version of the log; questions that come together share a read."""
        return Coalescer(self._failures)

    @cached_property
    def elsewhere(self) -> Coalescer[tuple[str, str, int], tuple[bool, Event | None, tuple[int, str] | None]]:
        """What there is of work that another process does: asked with the name of the work, the key of its ending, and
        a version of the log. Questions that come together share a read.

        True when the run was undone or closed after that version; how the work ended; and its last sign of life.
        """
        return Coalescer(self._elsewhere)

    async def _elsewhere(
        self, run: str, asked: Sequence[tuple[str, str, int]]
    ) -> list[tuple[bool, Event | None, tuple[int, str] | None]]:
        over, first = (EventType.SAGA_UNWINDING, EventType.RUN_CLOSED), min(after for _, _, after in asked)
        # Read before the endings. In the other order: no ending is found, the ending is written, the run is closed, and
        # the close that is seen then would hide the ending.
        read = self.log.aread(run, after_version=first, steps=(), types=over)
        last = max([event.version async for event in read], default=0)
        endings = await self.log.aunder_keys(run, [key for _, key, _ in asked])
        signs = await last_heartbeats(self.database, {work: after for work, _, after in asked})
        return [(last > after, endings.get(key), signs.get(work)) for work, key, after in asked]

    async def _failures(self, run: str, asked: Sequence[tuple[str, int]]) -> list[list[Event]]:
        steps, after = {step for step, _ in asked}, min(version for _, version in asked)
        read = self.log.aread(run, after_version=after, steps=steps, types=[EventType.STEP_FAILED])
        failed = [event async for event in read]
        return [[event for event in failed if event.step == step] for step, _ in asked]

    async def _lives(self, run: str, asked: Sequence[None]) -> list[RunLifecycle]:
        life = RunLifecycle.of([event async for event in self.log.aread(run, steps=(), types=LIFECYCLE_EVENTS)])
        return [life for _ in asked]

    def workspace(self, run: str) -> Path:
        """The run's own folder, made when first asked for."""
        folder = workspace_of(self.artifacts, run)
        if not folder.is_dir():
            # An open run from an earlier release goes on in the folder it has. A later run must not: in the old naming
            # two runs could have the same folder.
            earlier = earlier_workspace_of(self.artifacts, run)
            if earlier.is_dir() and self.queries.is_from_before_server_epochs(run):
                return earlier
            folder.mkdir(parents=True, exist_ok=True)
        return folder
