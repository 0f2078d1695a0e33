"""A team's members: each pulls the next task of the plan that it can do, until all of them have ended."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple
from uuid import uuid4
from weakref import WeakValueDictionary

from muster.agents.spec import AgentSpec
from muster.coordination.assignment import Choice, Member, Progress, assign, lost
from muster.coordination.plans import Plan, Task, mark
from muster.events import keys
from muster.events.coalesce import Coalescer
from muster.events.keys import work_key
from muster.events.model import Event, EventType
from muster.events.payloads.base import Place
from muster.events.payloads.work import StepExtended, StepSkipped, StepSucceeded, TaskAssigned
from muster.events.state import CANCELLED, UNWINDING
from muster.execution.fanout import FanOut
from muster.execution.flow import ITEM_FAILED, UPSTREAM_FAILED, Skip
from muster.execution.growing import Growing
from muster.execution.overtaken import AHEAD_BEAT, LONGEST_WAIT_AHEAD
from muster.execution.references import StepNotInScope, WorkRef
from muster.execution.services import Services
from muster.execution.stopping import why_not_begun
from muster.execution.variables import Variables
from muster.execution.work_item import WorkItem
from muster.recovery.heartbeats import last_heartbeats

PATIENCE = 10.0
"""Seconds without anything to do after which a member does also what its agent cannot, with another of the team."""
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
        self.plan = Plan.laid_out(fan_out.items)
        self._causes: dict[int, int] = {}
        """Of each task that was added, the one that has added it."""
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
        skills = {name: frozenset(agent.skills) for name, agent in self._agents.items()}
        return [Member(slot, name, skills[name]) for slot, name in enumerate(self.fan_out.members)]

    @property
    def _agents(self) -> Mapping[str, AgentSpec]:
        return self.fan_out.view.definition.agents

    @property
    def fresh(self) -> int:
        """The first position that no task ever had, in any execution."""
        return max(len(self.fan_out.items), self.fan_out.view.state.step(self.fan_out.step.id).fresh)

    def ending_of(self, task: int) -> Event | None:
        """How a task ended; None while it has not."""
        return self._endings.get(task)

    def added_by(self, task: int, output: object) -> Sequence[Task]:
        """The tasks that come to the plan when a task has given this.

        Raises:
            PermanentError: they cannot be done, or may not be added.
        """
        step = self.fan_out.step
        chain = list[str]()
        cause: int | None = task
        while cause is not None:
            chain += [said[-1].agent] if (said := self._assigned.get(cause)) else []
            cause = self._causes.get(cause)
        able = {name: self._agents[name].skills for name in step.agents}
        return step.added(self.plan, task, output, chain, able)

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

    def choose(self, slot: int, idle: float) -> Choice | None:
        """A task for a member that has none; None when there is nothing for it now.

        Args:
            idle: Seconds in which it has had nothing to do. After a while it takes what is left to others, who may have
                died before they took anything; and later also what its agent cannot do, with another agent of the team:
                the members who could may all be gone, or wait for a slot that this one holds.
        """
        among, progress = self.fan_out.indices, self.progress
        chosen = assign(self.plan, self.members, progress, among).get(slot)
        alone = replace(progress, taken=dict.fromkeys(progress.taken, -1))
        if chosen is None and idle >= LOOK:
            chosen = assign(self.plan, [self.members[slot]], alone, among).get(slot)
        if chosen is None and idle >= PATIENCE:
            chosen = assign(self.plan, [self._anybody(slot)], alone, among).get(slot)
        return chosen

    def _anybody(self, slot: int) -> Member:
        """A member who can do whatever an agent of the team can."""
        needs = (task.required for task in self.plan.tasks if self._able(task))
        return replace(self.members[slot], skills=frozenset(itertools.chain.from_iterable(needs)))

    def _able(self, task: Task) -> list[str]:
        return [name for name in self.fan_out.step.agents if task.required <= {*self._agents[name].skills, mark(name)}]

    def agent_for(self, slot: int, task: int) -> str:
        """The agent that does a task for a member: its own where it can."""
        able, own = self._able(self.plan.tasks[task]), self.members[slot].agent
        return own if own in able else able[0]

    def held_by(self, slot: int) -> dict[int, TaskAssigned]:
        """The tasks under way that a member has, with how it took each."""
        last = {task: said[-1] for task, said in self._assigned.items() if task not in self._endings}
        return {task: said for task, said in last.items() if said.member == slot}

    def marks_of(self, slot: int) -> set[str]:
        """The marks of all that a member has taken."""
        return {said.mark for all_of in self._assigned.values() for said in all_of if said.member == slot}

    def left(self) -> list[int]:
        """The tasks that have neither ended nor are under way."""
        taken = self.progress.taken
        return [task for task in self.fan_out.indices if task not in self._endings and task not in taken]

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
        taken = self.progress.taken
        works = {self._work(task): task for task in taken}
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

    async def claim(self, ref: WorkRef, slot: int, choice: Choice) -> str | None:
        """Take a task; the mark of that, or None when another member or process was first."""
        step, mark = self.fan_out.step.id, uuid4().hex
        said = self._assigned.get(choice.task)
        # Whoever takes a task over goes on as the agent that had it: what that has said and done stays its own.
        agent = said[-1].agent if said else self.agent_for(slot, choice.task)
        place: Place = {"step": step, "index": choice.task, "epoch": self._epoch}
        taken = TaskAssigned(**place, member=slot, agent=agent, mark=mark, why=choice.why)
        key = keys.assigned(work_key(step, choice.task), self._count(choice.task) + 1, self._epoch)
        # Of several that append under one key the first is stored, and the others are given what it has written.
        stored = await self._services.log.aappend(ref.run, [taken.event(key=key, actor=agent)])
        self.note(stored[0])
        return mark if TaskAssigned.of(stored[0]).mark == mark else None

    def work_item(self, ref: WorkRef, task: int) -> WorkItem:
        """The work item of a task, whose expressions also know `tasks`: what the tasks before it gave."""
        said, step = self._assigned.get(task), self.fan_out.step
        return WorkItem(
            view=self.fan_out.view,
            step=self.fan_out.step,
            ref=ref,
            index=task,
            variables=Variables(lambda: {**self.fan_out.variables_of(task), "tasks": self._given(task)}),
            agent=said[-1].agent if said else None,
            growing=Growing(self, task) if step.grows else None,
            first=self._count(task) < 2,
        )

    def _given(self, task: int) -> dict[str, object]:
        before = self.plan.before[task]
        return {self.plan.tasks[one].id: StepSucceeded.of(self._endings[one]).output for one in before}

    def note(self, event: Event) -> None:
        """Take in an event, and wake the members that wait."""
        if event.type == EventType.STEP_EXTENDED:
            self._extend(StepExtended.of(event))
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

    def _extend(self, said: StepExtended) -> None:
        self._causes |= dict.fromkeys(range(said.first, said.length), said.by)
        if said.length > len(self.fan_out.items):
            self.fan_out = self.fan_out.grown(said.first, said.items)
            self.plan = Plan.laid_out(self.fan_out.items)

    async def changed(self) -> None:
        """Wait until a member in this process has done something, or it is time to look what others have done."""
        changed = self._changed
        try:
            # All who wait look at the same moments, and share a read.
            async with asyncio.timeout(LOOK - time.monotonic() % LOOK):
                await changed.wait()
        except TimeoutError:
            await self.look()

    async def look(self) -> None:
        """Read what has come into the log."""
        await self._reads.submit("", None)

    async def _read(self, _: str, asked: Sequence[None]) -> list[None]:
        types = (EventType.TASK_ASSIGNED, EventType.STEP_EXTENDED, *sorted(ENDINGS))
        run, step = self.fan_out.view.id, self.fan_out.step.id
        read = self._services.log.aread(run, after_version=self._version, steps=(step,), types=types)
        async for event in read:
            self._version = event.version
            if event.epoch == self._epoch:
                self.note(event)
        return [None for _ in asked]


_boards: WeakValueDictionary[tuple[int, int, int], Board] = WeakValueDictionary()


def _board(services: Services, fan_out: FanOut, epoch: int) -> Board:
    key = id(asyncio.get_running_loop()), id(fan_out), epoch
    if (board := _boards.get(key)) is None:
        board = _boards[key] = Board(services, fan_out, fan_out.kept, epoch)
    return board


class Pulled(NamedTuple):
    """What came of a member's work."""

    endings: Sequence[Event]
    """How the tasks ended that it did."""
    fan_out: FanOut
    """With the tasks that were added meanwhile."""


async def pull(services: Services, fan_out: FanOut, ref: WorkRef, perform: PerformTask, skip: SkipTask) -> Pulled:
    """Do tasks as the member `ref.slot` until all have ended; how its own ended.

    Raises:
        StepNotInScope: the execution of the run leaves the step as it was, or has ended.
    """
    if fan_out.epoch != ref.epoch and not ref.is_preserved:
        # A layout for it would give other members other tasks, while their instances in Airflow stand for the old ones.
        raise StepNotInScope(
            f"A member of {ref.step} was cleared in Airflow without {ref.step}.items: nobody knows which tasks are "
            f"to be done again. Clear both, or `muster restart {ref.run} --from {ref.step}`."
        )
    if ref.is_preserved:
        items = fan_out.view.state.step(fan_out.step.id).items
        of_it = (index for index in fan_out.kept if index in items and items[index].member == ref.slot)
        return Pulled([fan_out.kept[index] for index in of_it], fan_out)
    board, slot, since = _board(services, fan_out, ref.epoch), ref.slot or 0, time.monotonic()
    await board.look()
    # What an earlier process of this member had is gone on with. What is taken for it after this is another process's,
    # which has come since: then this one does nothing until that one is silent.
    mine = board.marks_of(slot)
    while not board.is_over:
        for task, reason in board.lost():
            board.note(await skip(services, board.work_item(ref, task), reason))
        own = next((task for task, said in board.held_by(slot).items() if said.mark in mine), None)
        if own is None:
            idle = time.monotonic() - since
            is_alone = board.marks_of(slot) <= mine
            chosen = board.choose(slot, idle) if is_alone or idle >= LONGEST_WAIT_AHEAD else None
            if chosen is None and idle >= LOOK:
                if (stopped := await why_not_begun(services, ref)) is not None:
                    for task in board.left():
                        board.note(await skip(services, board.work_item(ref, task), stopped))
                    continue
                chosen = await board.silent(slot)
            if chosen is None:
                await board.changed()
                continue
            if (mark := await board.claim(ref, slot, chosen)) is None:
                continue
            mine.add(mark)
            own = chosen.task
        board.note(await perform(services, board.work_item(ref, own)))
        since = time.monotonic()
    return Pulled(board.endings_of(slot), board.fan_out)
