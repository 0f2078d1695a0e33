"""A team's members: each pulls the next task of the plan that it can do, until all of them have ended."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from uuid import uuid4
from weakref import WeakValueDictionary

from muster.coordination.assignment import Choice, Member, Progress, assign, lost
from muster.coordination.plans import Plan
from muster.events import keys
from muster.events.coalesce import Coalescer
from muster.events.keys import work_key
from muster.events.model import Event, EventType
from muster.events.payloads.base import Place
from muster.events.payloads.work import StepSkipped, StepSucceeded, TaskAssigned
from muster.events.state import CANCELLED, UNWINDING
from muster.execution.fanout import FanOut
from muster.execution.flow import ITEM_FAILED, UPSTREAM_FAILED, Skip
from muster.execution.overtaken import AHEAD_BEAT, LONGEST_WAIT_AHEAD
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.stopping import why_not_begun
from muster.execution.variables import Variables
from muster.execution.work_item import WorkItem
from muster.recovery.heartbeats import last_heartbeats

LOOK = 1.0
"""Seconds between two looks at what members in other processes do; those in this process are told at once."""
PASSED_ON = (CANCELLED, UNWINDING, ITEM_FAILED)
"""Reasons of a skipped task for which those that wait for it are skipped too."""
ENDINGS = frozenset(
    {EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_SET_ASIDE}
    | {EventType.STEP_STOPPED}
)
"""How a task can end; a task that was given up has no other outcome any more."""
PerformTask = Callable[[Services, WorkItem], Awaitable[Event]]
"""Begins a task and finishes it; the event that ended it."""
SkipTask = Callable[[Services, WorkItem, Skip], Awaitable[Event]]
"""Writes that a task is skipped; the event that ended it."""


class Board:
    """What a process knows of the tasks of one execution of a team; all members in the process share it."""

    def __init__(self, services: Services, fan_out: FanOut, kept: Mapping[int, Event], epoch: int) -> None:
        self.fan_out, self._services, self._epoch = fan_out, services, epoch
        self.plan = Plan.of(fan_out.items)
        self._endings = dict(kept)
        self._assigned: dict[int, list[TaskAssigned]] = {}
        """Of each task how it was assigned, the latest last."""
        self._version = 0
        self._reads = Coalescer(self._read)
        self._changed = asyncio.Event()
        self._signs: dict[int, tuple[object, float]] = {}
        """Of each task the last sign of life, and since when it is known."""
        self._look_at_signs: dict[int, float] = {}
        """When each member looks for them next."""

    @cached_property
    def members(self) -> list[Member]:
        """The members of the team."""
        agents = self.fan_out.view.definition.agents
        return [Member(slot, name, frozenset(agents[name].skills)) for slot, name in enumerate(self.fan_out.members)]

    @property
    def is_over(self) -> bool:
        """True when every task that has work has ended."""
        return all(task in self._endings for task in self.fan_out.indices)

    @property
    def progress(self) -> Progress:
        """How far the plan has got."""
        taken = {task: said[-1].member for task, said in self._assigned.items() if task not in self._endings}
        return Progress(
            done={task for task, event in self._endings.items() if event.type == EventType.STEP_SUCCEEDED},
            over=self._endings.keys(),
            taken=taken,
            work=Counter(said[-1].member for said in self._assigned.values()),
        )

    def endings_of(self, slot: int) -> list[Event]:
        """How the tasks ended that a member had last."""
        mine = (task for task, said in self._assigned.items() if said[-1].member == slot)
        return [self._endings[task] for task in sorted(mine) if task in self._endings]

    def next_of(self, slot: int, *, waited: bool) -> Choice | int | None:
        """What a member does next: the task that it has already, or a choice; None when there is nothing for it now.

        Args:
            waited: It has waited for a while and nothing changed: then it also takes what is another member's, because
                that one may have died.
        """
        progress = self.progress
        if (mine := next((task for task, member in progress.taken.items() if member == slot), None)) is not None:
            return mine
        among = self.fan_out.indices
        chosen = assign(self.plan, self.members, progress, among).get(slot)
        if chosen is None and waited:
            chosen = assign(self.plan, [self.members[slot]], progress, among).get(slot)
        return chosen

    def lost(self) -> list[tuple[int, Skip]]:
        """The tasks that can never begin, each with the reason."""
        return [(task, self._why_lost(task)) for task in lost(self.plan, self.progress, self.fan_out.indices)]

    def _why_lost(self, task: int) -> Skip:
        ended = (self._endings[before] for before in self.plan.before[task] if before in self._endings)
        reasons = (StepSkipped.of(event).reason for event in ended if event.type == EventType.STEP_SKIPPED)
        return Skip(next((reason for reason in reasons if reason in PASSED_ON), UPSTREAM_FAILED))

    async def silent(self, slot: int) -> Choice | None:
        """A task for a member to take over, because the one that has it has given no sign of life for a while."""
        now = time.monotonic()
        if now < self._look_at_signs.get(slot, 0.0):
            return None
        self._look_at_signs[slot] = now + AHEAD_BEAT
        taken = {task: other for task, other in self.progress.taken.items() if other != slot}
        skills = self.members[slot].skills
        works = {self._work(task): task for task in taken if skills >= {*self.plan.tasks[task].needs}}
        signs = await last_heartbeats(self._services.database, dict.fromkeys(works, 0)) if works else {}
        for work, task in works.items():
            # With the number of its assignments: a member that has just taken it has not beaten yet.
            sign = signs.get(work), self._count(task)
            known, since = self._signs.get(task, (None, now))
            if known != sign:
                self._signs[task] = sign, now
            elif now - since >= LONGEST_WAIT_AHEAD:
                return Choice(
                    task, f"{self._assigned[task][-1].agent} has given no sign of life for {now - since:.0f} s"
                )
        return None

    def _count(self, task: int) -> int:
        return len(self._assigned.get(task, ()))

    def _work(self, task: int) -> str:
        return f"{self.fan_out.view.id}/{work_key(self.fan_out.step.id, task)}"

    async def claim(self, ref: WorkRef, slot: int, choice: Choice) -> bool:
        """Take a task; false when another member, or another process of this one, was first."""
        step, agent, mark = self.fan_out.step.id, self.members[slot].agent, uuid4().hex
        place: Place = {"step": step, "index": choice.task, "epoch": self._epoch}
        said = TaskAssigned(**place, member=slot, agent=agent, mark=mark, why=choice.why)
        key = keys.assigned(work_key(step, choice.task), self._count(choice.task) + 1, self._epoch)
        # Of several that append under one key the first is stored, and the others are given what it has written.
        stored = await self._services.log.aappend(ref.run, [said.event(key=key, actor=agent)])
        self.note(stored[0])
        return TaskAssigned.of(stored[0]).mark == mark

    def work_item(self, ref: WorkRef, task: int) -> WorkItem:
        """The work item of a task, whose expressions also know `tasks`: what the tasks before it gave."""
        said = self._assigned.get(task)
        return WorkItem(
            view=self.fan_out.view,
            step=self.fan_out.step,
            ref=ref,
            index=task,
            variables=Variables(lambda: {**self.fan_out.variables_of(task), "tasks": self._given(task)}),
            agent=said[-1].agent if said else None,
            first=self._count(task) < 2,
        )

    def _given(self, task: int) -> dict[str, object]:
        before = self.plan.before[task]
        return {self.plan.tasks[one].id: StepSucceeded.of(self._endings[one]).output for one in before}

    def note(self, event: Event) -> None:
        """Take in an event, and wake the members that wait."""
        if event.index is None:
            return
        if event.type == EventType.TASK_ASSIGNED:
            said = self._assigned.setdefault(event.index, [])
            if (one := TaskAssigned.of(event)).mark in (other.mark for other in said):
                return
            said.append(one)
        elif event.index not in self._endings:
            self._endings[event.index] = event
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> bool:
        """Wait until a member in this process has done something, or it is time to look what others have done.

        Returns True when something has changed.
        """
        changed = self._changed
        try:
            # All who wait look at the same moments, and share a read.
            async with asyncio.timeout(LOOK - time.monotonic() % LOOK):
                await changed.wait()
        except TimeoutError:
            await self.look()
        return changed.is_set()

    async def look(self) -> None:
        """Read what has come into the log."""
        await self._reads.submit("", None)

    async def _read(self, _: str, asked: Sequence[None]) -> list[None]:
        types = (EventType.TASK_ASSIGNED, *sorted(ENDINGS))
        run, step = self.fan_out.view.id, self.fan_out.step.id
        read = self._services.log.aread(run, after_version=self._version, steps=(step,), types=types)
        async for event in read:
            self._version = event.version
            if event.epoch == self._epoch:
                self.note(event)
        return [None for _ in asked]


_boards: WeakValueDictionary[tuple[int, int, int, int | None], Board] = WeakValueDictionary()


def _board(services: Services, fan_out: FanOut, ref: WorkRef) -> Board:
    # A member that a person cleared in Airflow by hand does its own tasks again, and no others.
    by_hand = fan_out.epoch != ref.epoch and not ref.is_preserved
    key = (id(asyncio.get_running_loop()), id(fan_out), ref.epoch, ref.slot if by_hand else None)
    if (board := _boards.get(key)) is None:
        kept = fan_out.kept
        if by_hand:
            items = fan_out.view.state.step(fan_out.step.id).items
            ends = {event.index: event for event in fan_out.view.events if event.type in ENDINGS}
            kept = {index: ends[index] for index in items if index in ends and (items[index].member or 0) != ref.slot}
        board = _boards[key] = Board(services, fan_out, kept, ref.epoch)
    return board


async def pull(
    services: Services, fan_out: FanOut, ref: WorkRef, perform: PerformTask, skip: SkipTask
) -> Sequence[Event]:
    """Do tasks as the member `ref.slot` until all have ended; how its own ended."""
    board, slot, waited = _board(services, fan_out, ref), ref.slot or 0, False
    await board.look()
    while not board.is_over:
        ref.ensure_in_scope()
        for task, reason in board.lost():
            board.note(await skip(services, board.work_item(ref, task), reason))
        chosen = board.next_of(slot, waited=waited)
        if chosen is None and waited:
            # Raises where the execution has ended: a member that has nothing to do would never hear of it.
            await why_not_begun(services, ref)
            chosen = await board.silent(slot)
        if chosen is None:
            waited = not await board.changed()
            continue
        waited = False
        if isinstance(chosen, Choice):
            if not await board.claim(ref, slot, chosen):
                continue
            chosen = chosen.task
        board.note(await perform(services, board.work_item(ref, chosen)))
    return board.endings_of(slot)
