"""Plays runs as Airflow would, without it: which tasks a step has, what is undone after them, and the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import TypeVar

from muster.execution.fanout import expand
from muster.execution.outcome import Outcome
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.view import definition_of
from muster.language.sagas import compensation_order
from muster.saga import unwinding
from muster.saga.closing import close_run

T = TypeVar("T")
Act = Callable[[Services, WorkRef], Awaitable[T]]
"""The work of one task."""
States = Mapping[str, str | None]
"""Airflow's states of tasks, by their ids."""


class Player(ABC):
    """Plays tasks one after the other."""

    @abstractmethod
    def services(self) -> Services:
        """Those of the next process."""

    async def task(self, act: Act[T], ref: WorkRef) -> T:
        """Perform one task instance with the services of a new process."""
        return await act(self.services(), ref)

    async def tasks(self, ref: WorkRef) -> list[WorkRef]:
        """The task instances of a step: one, or for a mapped step those of its list, which is laid out first.

        Raises:
            PermanentError: the list cannot be laid out.
        """
        if not (await definition_of(self.services(), ref.run, ref.epoch)).step(ref.step).is_mapped:
            return [ref]
        fan_out = await self.task(expand, ref)
        return [replace(ref, slot=slot) for slot in range(fan_out.slots())]

    async def unwind(self, run: str, states: States, *, epoch: int = 0, only: Collection[str] | None = None) -> str:
        """Undo the run if it has to be undone; return `succeeded`, `failed`, or `skipped` if nothing has to be undone.

        Args:
            only: The steps of which tasks were cleared to resume a run; its undoing has begun already. None for all.
        """
        ref = WorkRef(run=run, step="begin", epoch=epoch)
        if only is None:
            begun = await self.task(lambda services, ref: unwinding.begin(services, ref, states), ref)
            if begun.status != "succeeded":
                return begun.status
        for step in compensation_order(await definition_of(self.services(), run, epoch)):
            if only is not None and step not in only:
                continue
            if (await self.task(unwinding.compensate, replace(ref, step=step))).status == "failed":
                return "failed"
        return "succeeded"

    async def close(self, run: str, states: States, *, epoch: int = 0) -> Outcome:
        """Close the run."""
        ref = WorkRef(run=run, step="close", epoch=epoch)
        return await self.task(lambda services, ref: close_run(services, ref, states), ref)
