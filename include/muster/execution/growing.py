"""How a task of a team ends when it adds tasks to the plan: both are written in one append, or neither is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from muster.errors import PermanentError
from muster.events import keys
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.work import StepExtended, StepSucceeded
from muster.execution.concurrency import undisturbed
from muster.execution.services import Services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from muster.coordination.plans import Task
    from muster.execution.work_item import WorkItem


class GrowingPlan(Protocol):
    """What is known of a plan that tasks may be added to, while it is carried out."""

    @property
    def fresh(self) -> int:
        """The first position that no task ever had, in any execution."""
        ...

    async def look(self) -> None:
        """Read what has come into the log."""
        ...

    def ending_of(self, task: int) -> Event | None:
        """How a task ended; None while it has not."""
        ...

    def added_by(self, task: int, output: object) -> Sequence[Task]:
        """The tasks that come to the plan when a task has given this.

        Raises:
            PermanentError: they cannot be done, or may not be added.
        """
        ...

    def note(self, event: Event) -> None:
        """Take in an event."""
        ...


@dataclass(frozen=True)
class Growing:
    """What a task adds to the plan by what it gives."""

    board: GrowingPlan
    task: int

    def refusal(self, output: object) -> str | None:
        """Why what the task gives is refused, for the agent that gave it; None when it is not."""
        try:
            self.board.added_by(self.task, output)
        except PermanentError as error:
            return error.message
        return None

    async def append(self, services: Services, work_item: WorkItem, ending: NewEvent) -> list[Event]:
        """Write how the task ended, with the tasks that it adds; those that may not be added fail it."""
        run, step = work_item.ref.run, work_item.step.id
        if ending.type != EventType.STEP_SUCCEEDED:
            return await services.log.aappend(run, [ending])

        async def decide() -> list[Event]:
            # Read before the plan: a task that ends in between adds to the plan, too, and then this append is refused.
            # Else both would give the same position to different tasks, or together add more than may be.
            version = await services.log.aversion(run)
            await self.board.look()
            if (ended := self.board.ending_of(self.task)) is not None:
                return [ended]
            try:
                added = self.board.added_by(self.task, StepSucceeded.of(ending).output)
            except PermanentError as error:
                return await services.log.aappend(run, [work_item.failed(error)])
            if not added:
                return await services.log.aappend(run, [ending])
            first = self.board.fresh
            extended = StepExtended(
                step=step,
                epoch=work_item.ref.epoch,
                by=self.task,
                first=first,
                length=first + len(added),
                items=[task.model_dump(by_alias=True) for task in added],
                names=[task.id for task in added],
            )
            key = keys.extended(work_item.key, work_item.ref.epoch)
            # The tasks go first: whoever sees the ending has seen them, and does not take the plan for carried out.
            events = [extended.event(key=key, actor=ending.actor), ending]
            stored = await services.log.aappend(run, events, expected=version, within=[step])
            self.board.note(stored[0])
            return stored[1:]

        return await undisturbed(decide)
