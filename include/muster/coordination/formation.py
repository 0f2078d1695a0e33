"""Which agents make a team for a plan: one that can do it for every task, and few different ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

from muster.coordination.assignment import Member
from muster.coordination.plans import Plan, mark, mistakes, refusal
from muster.errors import PermanentError

MOST_COMBINATIONS = 20_000
"""Choices of agents that are tried one by one; where there are more, a greedy search comes close to the fewest."""


def form(plan: Plan, agents: Mapping[str, frozenset[str]], size: int, *, grows: bool = False) -> list[Member]:
    """The members of a team, at most `size` and at most one for each task.

    First the smallest set of agents that can do every task; then the others by how much work there is for them: each
    further place goes to the agent whose tasks have the most seconds for each of its places.

    Args:
        agents: The skills of each agent that may be a member, by its id, in order of preference.
        grows: True when tasks may come to the plan that nobody knows yet: then all places are taken, by the
            agents in turn.

    Raises:
        PermanentError: some task finds no agent, or more agents are needed than there are places.
    """
    if wrong := list(mistakes(plan.tasks, agents)):
        raise refusal(wrong, "Mend the plan, or name agents with these skills as members of the team.")
    needs = [task.required for task in plan.tasks]
    able = {name: skills | {mark(name)} for name, skills in agents.items()}
    chosen = _smallest(set(needs), able)
    if len(chosen) > size:
        raise PermanentError(
            f"The plan needs {len(chosen)} agents ({', '.join(chosen)}), and the team has {size} places.",
            remedy=f"Give the team `size: {len(chosen)}`, or plan with fewer different skills.",
        )
    while len(chosen) < (size if grows else min(size, len(plan.tasks))):
        chosen.append(min(agents, key=chosen.count) if grows else _busiest(plan, needs, able, chosen))
    return [Member(slot, agent, agents[agent]) for slot, agent in enumerate(chosen)]


def _smallest(needs: set[frozenset[str]], agents: Mapping[str, frozenset[str]]) -> list[str]:
    """The fewest agents of whom one can do each task; the first of equals."""
    covers = {agent: {need for need in needs if need <= skills} for agent, skills in agents.items()}
    # Who can do no more than another one is not needed beside them.
    useful = list[str]()
    for agent, can in sorted(covers.items(), key=lambda it: -len(it[1])):
        if not any(can <= covers[other] for other in useful):
            useful.append(agent)
    for count in range(1, len(useful) + 1):
        if comb(len(useful), count) > MOST_COMBINATIONS:
            break
        for some in combinations(useful, count):
            if set().union(*(covers[agent] for agent in some)) == needs:
                return list(some)
    return _greedy(needs, covers)


def _greedy(needs: set[frozenset[str]], covers: Mapping[str, set[frozenset[str]]]) -> list[str]:
    """A covering set by the greedy rule, at most ln(n) + 1 times the smallest (V. Chvátal, 1979)."""
    left, chosen = set(needs), list[str]()
    while left:
        best = max(covers, key=lambda agent: len(covers[agent] & left))
        chosen.append(best)
        left -= covers[best]
    return chosen


def _busiest(
    plan: Plan, needs: Sequence[frozenset[str]], agents: Mapping[str, frozenset[str]], chosen: Sequence[str]
) -> str:
    """The agent that one more place helps most."""
    able = [[agent for agent in agents if need <= agents[agent]] for need in needs]
    load = dict.fromkeys(agents, 0.0)
    for task, who in zip(plan.tasks, able, strict=True):
        # What several can do is shared between the places that they have, and those that they would have with one more.
        places = sum(chosen.count(agent) for agent in who)
        for agent in who:
            load[agent] += task.effort / (places + 1)
    return max(agents, key=lambda agent: load[agent])
