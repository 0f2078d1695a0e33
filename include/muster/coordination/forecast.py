"""What a plan would come to: who would do which task when, how long it would take, what it would cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from muster.coordination.assignment import Member, Progress, assign
from muster.coordination.plans import Plan
from muster.events.experience import NOTHING, Experience, Range

FEWEST = 5
"""Earlier tasks of an agent from which on they say more than the `effort` of a task."""
LOW, HIGH = 0.5, 2.0
"""What an estimate is multiplied by where nothing but the estimate is known."""


@dataclass(frozen=True)
class Turn:
    """A task as a member would do it, in seconds from the beginning of the team."""

    task: int
    slot: int
    begins: float
    ends: float


@dataclass(frozen=True)
class Forecast:
    """What a plan would come to."""

    turns: Sequence[Turn]
    """In the order in which they begin, if each task takes as long as is likely."""
    seconds: Range
    """From the beginning of the first task to the end of the last."""
    alone: float
    """How long one agent would take for all of it, if each task takes as long as is likely."""
    usd: Range | None
    """None where nobody knows what some agent's work costs."""


def forecast(plan: Plan, members: Sequence[Member], experience: Mapping[str, Experience]) -> Forecast:
    """Play a plan with the rule that assigns its tasks, as if each succeeded at the first try.

    Args:
        experience: What earlier tasks of agents took, by the agent. With fewer than `FEWEST` of an agent its tasks are
            taken to last their `effort`, between half and double.
    """

    def lasts(task: int, slot: int) -> Range:
        known = experience.get(members[slot].agent)
        if known is not None and known.count >= FEWEST:
            return known.seconds
        effort = plan.tasks[task].effort
        return Range(effort * LOW, effort, effort * HIGH)

    low = _played(plan, members, lambda task, slot: lasts(task, slot).low)
    likely = _played(plan, members, lambda task, slot: lasts(task, slot).likely)
    high = _played(plan, members, lambda task, slot: lasts(task, slot).high)
    # Shorter tasks can take longer together: R. L. Graham, Bounds on multiprocessing timing anomalies, 1969.
    ends = [max((turn.ends for turn in turns), default=0.0) for turns in (low, likely, high)]
    costs = [known.usd if (known := experience.get(members[turn.slot].agent)) else None for turn in likely]
    priced = [cost for cost in costs if cost is not None]
    return Forecast(
        turns=likely,
        seconds=Range(min(ends), ends[1], max(ends)),
        alone=sum(turn.ends - turn.begins for turn in likely),
        usd=sum(priced, NOTHING) if len(priced) == len(costs) else None,
    )


def _played(plan: Plan, members: Sequence[Member], seconds: Callable[[int, int], float]) -> list[Turn]:
    now, done, turns = 0.0, set[int](), list[Turn]()
    at_work = dict[int, Turn]()
    work = Counter[int]()
    among = range(len(plan.tasks))
    while True:
        taken = {turn.task: slot for slot, turn in at_work.items()}
        for slot, choice in sorted(assign(plan, members, Progress(done, done, taken, work), among).items()):
            at_work[slot] = Turn(choice.task, slot, now, now + seconds(choice.task, slot))
            turns.append(at_work[slot])
            work[slot] += 1
        if not at_work:
            return turns
        first = min(at_work.values(), key=lambda turn: (turn.ends, turn.slot))
        now = first.ends
        done.add(first.task)
        del at_work[first.slot]
