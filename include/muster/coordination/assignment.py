"""Who does which task next: the same state always gives the same answer, in every process that asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from muster.coordination.plans import Plan, mark


@dataclass(frozen=True)
class Member:
    """A place in a team: an agent that does one task at a time. The same agent may have several."""

    slot: int
    agent: str
    skills: frozenset[str]

    @cached_property
    def abilities(self) -> frozenset[str]:
        """Its skills, and the mark of its agent."""
        return self.skills | {mark(self.agent)}


@dataclass(frozen=True)
class Progress:
    """How far a plan has got; tasks are named by their positions."""

    done: Collection[int] = frozenset()
    """Those that succeeded."""
    over: Collection[int] = frozenset()
    """Those that ended, also in another way."""
    taken: Mapping[int, int] = field(default_factory=dict)
    """Those under way, with the slot of the member that has each."""
    work: Mapping[int, int] = field(default_factory=dict)
    """How many tasks each member has had."""


@dataclass(frozen=True)
class Choice:
    """A task for a member."""

    task: int
    why: str
    """In words, for the log."""


def ready(plan: Plan, progress: Progress, among: Collection[int]) -> list[int]:
    """The tasks that may begin, the most urgent first: the one before the longest chain of tasks, then the earliest.

    List scheduling by the critical path: R. L. Graham, Bounds on multiprocessing timing anomalies, 1969.
    """
    free = [
        task
        for task in among
        if task not in progress.over
        and task not in progress.taken
        and all(before in progress.done for before in plan.before[task])
    ]
    return sorted(free, key=lambda task: (-plan.remaining[task], task))


def lost(plan: Plan, progress: Progress, among: Collection[int]) -> list[int]:
    """The tasks that can never begin, because one that they wait for ended in another way than with success."""
    return [
        task
        for task in sorted(among)
        if task not in progress.over
        and task not in progress.taken
        and any(before in progress.over and before not in progress.done for before in plan.before[task])
    ]


def assign(plan: Plan, members: Sequence[Member], progress: Progress, among: Collection[int]) -> dict[int, Choice]:
    """The next task of each member that has none, by its slot; members for whom there is nothing are left out.

    Each task, the most urgent first, goes to the free member with the fewest skills besides those that it needs, who is
    of least use for other tasks; then to the one that has had the fewest tasks; then to the first.
    """
    busy = Counter(progress.taken.values())
    free = {member.slot: member for member in members if not busy[member.slot]}
    chosen: dict[int, Choice] = {}
    for task in ready(plan, progress, among):
        needs = plan.tasks[task].required
        able = [member for member in free.values() if needs <= member.abilities]
        if not able:
            continue
        best = min(able, key=lambda it: (len(it.skills - needs), progress.work.get(it.slot, 0), it.slot))
        del free[best.slot]
        chosen[best.slot] = Choice(task, _why(plan.tasks[task].needs, len(able)))
        if not free:
            break
    return chosen


def _why(needs: Collection[str], able: int) -> str:
    those = f" with {', '.join(sorted(needs))}" if needs else ""
    if able == 1:
        return f"the only free member{those}"
    return f"of {able} free members{those} the one with the fewest other skills, then with the fewest tasks so far"
