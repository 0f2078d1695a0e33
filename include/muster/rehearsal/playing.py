"""Plays one run as Airflow would, task by task, and starts a task again after a crash."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from muster.approvals import asking
from muster.database import Database
from muster.errors import MusterError
from muster.events.definitions import DefinitionStore
from muster.events.state import RunState, afold
from muster.execution.attempts import attempts
from muster.execution.fanout import end
from muster.execution.performing import begin, perform
from muster.execution.references import WorkRef, run_id
from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.language.sagas import compensation_order
from muster.notifications.sender import Sender
from muster.rehearsal.faults import NONE, Crash, Faults, Interference, MortalLog
from muster.rehearsal.player import Act, Player, T
from muster.rehearsal.script import Case
from muster.runs.children import ask_for, result_of_run
from muster.runs.opening import Opening, open_run

LIVES = 3
"""How often a task is started at most. A run crashes once, so the second start goes through."""

_numbers = itertools.count(1)


class NoModels:
    """No connection to any model, and no programs: agents answer with their offline skills."""

    programs = False

    async def model(self, tier: str) -> None:
        """None, whatever the tier."""
        return


@dataclass
class Playing(Player):
    """One run of a definition in a database of its own."""

    definition: Definition
    case: Case
    database: Database
    artifacts: Path
    site: Path | None
    faults: Faults = NONE
    others: Mapping[str, Definition] = field(default_factory=dict)
    """The automations it runs, by name."""
    models: Any = field(default_factory=NoModels)
    run: str = ""
    epoch: int = 0
    _written: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Name the run."""
        self.run = self.run or run_id(self.definition.name, next_name())

    @property
    def appends(self) -> int:
        """How often the log was written to."""
        return len(self._written)

    async def play(self) -> RunState:
        """Play the whole run to its end, and return the state it ended in."""
        await self.task(self._open, WorkRef(run=self.run, step="open"))
        for step in in_order(self.definition):
            await self._step(step)
        return await self.end()

    async def end(self, *, resumed: bool = False) -> RunState:
        """Undo the run if it has to be undone, close it, and return its state; `resumed`: its undoing has begun."""
        only = compensation_order(self.definition) if resumed else None
        await self.unwind(self.run, {}, epoch=self.epoch, only=only)
        await self.close(self.run, {}, epoch=self.epoch)
        return await self.state()

    async def state(self) -> RunState:
        """The run as the log has it."""
        return await afold(self.services().log.aread(self.run))

    async def _open(self, services: Services, ref: WorkRef) -> Mapping[str, object]:
        name = ref.run.partition("/")[2]
        opening = Opening(
            run=ref.run,
            dag_id=self.definition.name,
            dag_run_id=name,
            definition=self.definition,
            bundle_version=None,
            conf=self.case.inputs,
        )
        return await open_run(services, opening)

    async def _step(self, step: ResolvedStep) -> None:
        act = {"people": self._ask, "airflow": self._operate, "runs": self._play_child}.get(step.done_by)
        try:
            tasks = await self.tasks(WorkRef(run=self.run, step=step.id, epoch=self.epoch))
        except MusterError:
            # The list cannot be laid out. The failure is in the log already, and Airflow would go on to the next step.
            return
        work = perform if act is None else partial(self._elsewhere, act)
        if step.pulls:
            # The members of a team wait for one another's tasks, so one after the other they would never end.
            await asyncio.gather(*(self.task(work, ref) for ref in tasks))
            return
        for ref in tasks:
            await self.task(work, ref)

    async def _elsewhere(
        self, act: Callable[[Services, WorkItem], Awaitable[object]], services: Services, ref: WorkRef
    ) -> None:
        begun = await begin(services, ref)
        if isinstance(begun, WorkItem):
            await act(services, begun)

    async def _ask(self, services: Services, work_item: WorkItem) -> None:
        if self.faults.fail == work_item.step.id:
            await end(
                services,
                work_item.ref,
                [work_item.failed(MusterError(f"The rehearsal lets {work_item.step.id} fail."))],
            )
            return
        await asking.request(services, work_item)
        approved = self.case.answers.get(work_item.step.id, "approve") == "approve"
        await asking.answer(services, work_item, approved=approved, by="rehearsal")

    async def _operate(self, services: Services, work_item: WorkItem) -> None:
        async def missing(services: Services, work_item: WorkItem) -> ActionResult:
            raise MusterError("This runs in Airflow only.", remedy=f"Give {work_item.step.id} a mock.")

        await self._attempt(services, work_item, missing)

    async def _play_child(self, services: Services, work_item: WorkItem) -> None:
        """Play the child run in the same database; every question in it is approved."""

        async def played(services: Services, work_item: WorkItem) -> ActionResult:
            child = await ask_for(services, work_item)
            definition = self.others.get(child.automation)
            if definition is None:
                remedy = f"Mend it, or give {work_item.step.id} a mock."
                raise MusterError(f"{child.automation} is not valid.", remedy=remedy)
            case = Case(name=child.run, inputs=child.conf)
            below = replace(self, definition=definition, case=case, faults=self.faults.everywhere(), run=child.run)
            below.epoch = 0
            await below.play()
            return await result_of_run(services, work_item, child.run)

        await self._attempt(services, work_item, played)

    async def _attempt(
        self, services: Services, work_item: WorkItem, act: Callable[[Services, WorkItem], Awaitable[ActionResult]]
    ) -> None:
        try:
            ending = work_item.succeeded(await attempts(services, work_item, act))
        except Exception as error:
            ending = work_item.failed(error)
        await end(services, work_item.ref, [ending])

    async def task(self, act: Act[T], ref: WorkRef) -> T:
        """The result of a task. If its process dies, another one starts the task anew."""
        # New services for each start: a new process knows only what is in the database.
        for _ in range(LIVES):
            with suppress(Crash):
                return await act(self.services(), ref)
        raise MusterError(f"{ref.step} died {LIVES} times.")

    def services(self) -> Services:
        """As a new process has them."""
        log = MortalLog(self.database, self.faults, self._written)
        return Services(
            database=self.database,
            log=log,
            definitions=DefinitionStore(self.database),
            models=self.models,
            notices=Sender(self.database, seals=log.aseals),
            artifacts=self.artifacts,
            site=self.site,
            readable=() if self.site is None else (self.site.parent,),
            intercept=Interference(self.definition.name, self.faults, self.case.mocks),
        )


def next_name() -> str:
    """A name for a run that no other of this process has."""
    return f"rehearsal__{next(_numbers)}"


def readable(site: Path | None, artifacts: Path) -> tuple[Path, ...]:
    """The folders that a rehearsal may read from, in addition to those of runs: its files, and the automations'."""
    return (artifacts,) if site is None else (artifacts, site.parent)


def in_order(definition: Definition) -> list[ResolvedStep]:
    """The steps in an order in which each comes after those it waits for."""
    done: dict[str, ResolvedStep] = {}
    waiting = list(definition.steps)
    while waiting:
        ready = [step for step in waiting if all(name in done for name in step.after)]
        done |= {step.id: step for step in ready}
        waiting = [step for step in waiting if step.id not in done]
    return list(done.values())
