"""How a team works: a mode is a plan to begin with, and a rule for what comes to it when a task has ended.

Nothing here reads or writes: a mode is a function of the plan and of what a task gave, the same in every process.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from muster.coordination.plans import Plan, Task, read
from muster.errors import PermanentError

ModeName = Literal["sequential", "parallel", "hierarchical", "autonomous"]
MORE = "more_tasks"
"""The key in what a task gives under which it names new tasks."""
PLAN, JOIN, MERGE = "plan", "join", "merge"
"""Ids of the tasks that a mode adds once."""
SO_FAR = "work_so_far"
"""Under which name a task that is done again is given what came of it before."""
_TASKS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "Lower case, digits and underscores; another for each task."},
            "ask": {"type": "string", "description": "What is to be done, in full sentences."},
            "needs": {"type": "array", "items": {"type": "string"}, "description": "Skills of the team."},
            "agent": {"type": "string", "description": "The one agent that is to do it, where it matters."},
            "after": {"type": "array", "items": {"type": "string"}, "description": "Ids of tasks that it waits for."},
            "uses": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "By a name, the id of the task whose result it is given.",
            },
            "with": {"type": "object", "description": "Values that it is given besides."},
            "effort": {"type": "number", "description": "Seconds that it will take."},
        },
        "required": ["id", "ask"],
    },
}
_PLANNED = {"type": "object", "properties": {"tasks": _TASKS}, "required": ["tasks"]}
_REVIEWED = {
    "type": "object",
    "properties": {
        "accepted": {"type": "boolean", "description": "True when all results are good enough for the goal."},
        "back": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"task": {"type": "string"}, "remarks": {"type": "string"}},
                "required": ["task", "remarks"],
            },
            "description": "The tasks to be done again, and what is to be better.",
        },
        "tasks": {**_TASKS, "description": "Tasks that are missing."},
    },
    "required": ["accepted"],
}
_DECIDED = {
    "type": "object",
    "properties": {
        "done": {"type": "boolean", "description": "True when the goal is reached."},
        "next": {**_TASKS, "description": "What others are to do next, side by side."},
    },
    "required": ["done"],
}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What an automation says about how its team works."""

    mode: ModeName | None = None
    lead: str | None = None
    """The agent that plans, reviews or decides."""
    planner: str | None = None
    """The agent that splits the goal into tasks; None where the tasks are given."""
    rounds: int = 0
    """How often a manager may send work back, or how many turns an agent may take."""
    most: int = 0
    """Tasks that the plan may have; 0 where nothing may come to it."""
    repeats: int = 2
    """How often the same may be asked of the same agents."""


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What the tasks of a mode are given."""

    goal: object = None
    join: str | None = None
    """What is asked once everything else has ended."""
    team: Mapping[str, object] | None = None
    """The skills of each agent, by its id."""

    def data(self, stage: str, **more: object) -> dict[str, object]:
        """As values of a task."""
        said = {"goal": self.goal, "team": self.team, "join": self.join}
        return {"stage": stage, **{name: value for name, value in said.items() if value is not None}, **more}

    @classmethod
    def of(cls, task: Task) -> Brief:
        """As an earlier task of the mode was given it."""
        given = task.arguments
        return cls(goal=given.get("goal"), join=given.get("join"), team=given.get("team"))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Growth:
    """What comes to a plan."""

    asked: Sequence[Task] = ()
    """What an agent asked for."""
    then: Sequence[Task] = ()
    """What the mode adds itself."""


class Mode(Protocol):
    """A way to work together."""

    def begin(self, tasks: Sequence[Task], rules: Rules, brief: Brief) -> list[Task]:
        """The plan, of tasks that were written or planned."""
        ...

    def grow(self, plan: Plan, task: Task, output: Mapping[str, object], rules: Rules) -> Growth:
        """What comes to the plan when a task has given this.

        Raises:
            PermanentError: that is not what the mode allows; the agent is told why.
        """
        ...


class Written:
    """The tasks as they are; each may name new ones in what it gives."""

    def begin(self, tasks: Sequence[Task], rules: Rules, brief: Brief) -> list[Task]:
        """The tasks as they are."""
        return list(tasks)

    def grow(self, plan: Plan, task: Task, output: Mapping[str, object], rules: Rules) -> Growth:
        """The tasks that it names."""
        return Growth(read(_listed(output, MORE)))


class Sequential(Written):
    """Each task after the one before it, whose result it is given."""

    def begin(self, tasks: Sequence[Task], rules: Rules, brief: Brief) -> list[Task]:
        """A chain."""
        chain = list(tasks[:1])
        for task in tasks[1:]:
            before = chain[-1].id
            uses = task.uses if "previous" in {**task.arguments, **task.uses} else {"previous": before, **task.uses}
            chain.append(_with(task, uses=uses, after=[*task.after, before]))
        return chain


class Parallel(Written):
    """All tasks side by side, and a last one that is given what came of them."""

    def begin(self, tasks: Sequence[Task], rules: Rules, brief: Brief) -> list[Task]:
        """The tasks, and the join."""
        if brief.join is None:
            return list(tasks)
        data = brief.data(JOIN)
        del data["join"]
        ids = [task.id for task in tasks]
        return [*tasks, _task(id=JOIN, ask=brief.join, agent=rules.lead, gathers=ids, arguments=data)]


class Hierarchical:
    """A manager splits the goal, looks at what came of it, sends back what is not good, and merges the rest."""

    def begin(self, tasks: Sequence[Task], rules: Rules, brief: Brief) -> list[Task]:
        """The tasks, and the first review of them."""
        return [*tasks, _review(1, [task.id for task in tasks], rules, brief)]

    def grow(self, plan: Plan, task: Task, output: Mapping[str, object], rules: Rules) -> Growth:
        """After a review: what is done again or comes new, with the next review; or the merge."""
        if task.agent != rules.lead or not (named := re.fullmatch(r"review_(\d+)", task.id)):
            return Growth()
        round, brief = int(named[1]), Brief.of(task)
        back, new = _listed(output, "back"), read(_listed(output, "tasks"))
        if not back and not new:
            if output.get("accepted") is not True:
                raise PermanentError("It is neither accepted nor is a task named that is to be done again.")
            return Growth(then=[_merge(task, task.gathers, rules, brief)])
        if output.get("accepted") is True:
            raise PermanentError("It is accepted, and tasks are named that are to be done.")
        if round > rules.rounds:
            raise PermanentError(f"Work was sent back {rules.rounds} times, which is all that `rounds` allows.")
        again = [_again(plan, task, each, round) for each in back]
        newest = {_first(each.id): each.id for each in again}
        gathers = [newest.get(_first(name), name) for name in task.gathers]
        asked = [*again, *new]
        return Growth(asked, [_review(round + 1, [*gathers, *(each.id for each in new)], rules, brief)])


class Autonomous:
    """An agent decides turn by turn what others do next, until it says that the goal is reached."""

    def begin(self, tasks: Sequence[Task], rules: Rules, brief: Brief) -> list[Task]:
        """The tasks, if any, and the first turn."""
        return [*tasks, _turn(1, [task.id for task in tasks], [], rules, brief)]

    def grow(self, plan: Plan, task: Task, output: Mapping[str, object], rules: Rules) -> Growth:
        """After a turn: what it asks for, with the next turn; or the merge."""
        if task.agent != rules.lead or not (named := re.fullmatch(r"turn_(\d+)", task.id)):
            return Growth()
        turn, brief = int(named[1]), Brief.of(task)
        asked = read(_listed(output, "next"))
        if output.get("done") is True:
            if asked:
                raise PermanentError("It is said to be done, and tasks are named that are to be done next.")
            return Growth(then=[_merge(task, task.gathers, rules, brief)])
        if not asked:
            raise PermanentError("It is not done, and nothing is named that is to be done next.")
        if turn >= rules.rounds:
            raise PermanentError(f"The agent has taken {turn} turns, which is all that `rounds` allows.")
        ids = [each.id for each in asked]
        return Growth(asked, [_turn(turn + 1, [*task.gathers, *ids], [task.id], rules, brief)])


_MODES: Mapping[ModeName | None, Mode] = {
    None: Written(),
    "sequential": Sequential(),
    "parallel": Parallel(),
    "hierarchical": Hierarchical(),
    "autonomous": Autonomous(),
}


def begin(tasks: Sequence[Task], rules: Rules, brief: Brief) -> list[Task]:
    """The plan that a team begins with."""
    if rules.planner is None:
        return _MODES[rules.mode].begin(tasks, rules, brief)
    ask = "Split the goal into tasks for the team. Each needs skills that one of its agents has."
    return [_task(id=PLAN, ask=ask, agent=rules.planner, returns=_PLANNED, arguments=brief.data(PLAN))]


def grow(plan: Plan, position: int, output: object, rules: Rules, chain: Sequence[str]) -> list[Task]:
    """The tasks that come to a plan when one has given this; each comes after it.

    Args:
        chain: The agents that did the task, the one that has added it, and so on.

    Raises:
        PermanentError: what an agent asks for is not allowed, or no task.
    """
    task = plan.tasks[position]
    given = output if isinstance(output, Mapping) else {}
    if task.id == PLAN and task.agent is not None and task.agent == rules.planner:
        planned = read(_listed(given, "tasks"))
        if not planned:
            raise PermanentError("There is no task in the plan.")
        whole, ids = _MODES[rules.mode].begin(planned, rules, Brief.of(task)), {each.id for each in planned}
        grown = Growth([each for each in whole if each.id in ids], [each for each in whole if each.id not in ids])
    else:
        grown = _MODES[rules.mode].grow(plan, task, given, rules)
    for each in grown.asked:
        if each.agent is not None and each.agent in chain:
            way = " → ".join([*reversed(chain[: chain.index(each.agent) + 1]), each.agent])
            raise PermanentError(f"Task `{each.id}` goes back to an agent that it comes from: {way}.")
    _ensure_no_repeats([*plan.tasks, *grown.asked], grown.asked, rules.repeats)
    added = [*grown.asked, *grown.then]
    if len(plan.tasks) + len(added) > rules.most and added:
        raise PermanentError(
            f"The plan would have {len(plan.tasks) + len(added)} tasks, and `max_tasks` allows {rules.most}."
        )
    return [_with(each, after=[*each.after, task.id]) for each in added]


def _ensure_no_repeats(tasks: Sequence[Task], asked: Sequence[Task], repeats: int) -> None:
    counts = Counter(map(_call, tasks))
    for task in asked:
        if (count := counts[_call(task)]) > repeats:
            raise PermanentError(
                f"Task `{task.id}` asks the same for the {_nth(count)} time, and `repeats` allows {repeats}: "
                f"change what is asked, or do without it."
            )


def _nth(number: int) -> str:
    return {1: "1st", 2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _call(task: Task) -> str:
    # What is sent back with the same remarks again is the same, although the work so far is another one.
    uses = {name: path for name, path in task.uses.items() if name != SO_FAR}
    return json.dumps([task.agent, sorted(task.needs), task.ask, task.arguments, uses], sort_keys=True, default=str)


def _listed(output: Mapping[str, object], key: str) -> list[object]:
    value = output.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise PermanentError(f"`{key}` is no list.")
    return value


def _task(arguments: Mapping[str, object], **fields: object) -> Task:
    return Task.model_validate({**fields, "with": dict(arguments)})


def _with(task: Task, **fields: object) -> Task:
    return Task.model_validate({**task.model_dump(by_alias=True), **fields})


def _review(round: int, ids: Sequence[str], rules: Rules, brief: Brief) -> Task:
    ask = "Look at what came of the tasks. Accept all of it, or say what is to be done again and what is to be better."
    if round > rules.rounds:
        ask += " Nothing can be sent back any more."
    data = brief.data("review", round=round, rounds_left=max(0, rules.rounds - round + 1))
    return _task(id=f"review_{round}", ask=ask, agent=rules.lead, gathers=list(ids), returns=_REVIEWED, arguments=data)


def _turn(turn: int, ids: Sequence[str], after: Sequence[str], rules: Rules, brief: Brief) -> Task:
    ask = "Say what others are to do next for the goal, or that it is reached."
    data = brief.data("turn", turn=turn, turns_left=rules.rounds - turn)
    return _task(
        id=f"turn_{turn}",
        ask=ask,
        agent=rules.lead,
        gathers=list(ids),
        after=list(after),
        returns=_DECIDED,
        arguments=data,
    )


def _merge(task: Task, ids: Sequence[str], rules: Rules, brief: Brief) -> Task:
    ask = "Make one result for the goal of what came of the tasks."
    return _task(id=MERGE, ask=ask, agent=rules.lead, gathers=list(ids), arguments=brief.data(MERGE))


def _again(plan: Plan, review: Task, said: object, round: int) -> Task:
    """A task that is sent back, with what is to be better and the work so far."""
    name = said.get("task") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or name not in review.gathers:
        raise PermanentError(f"`{name}` is sent back, and is none of {', '.join(review.gathers)}.")
    before = plan.tasks[plan.positions[str(name)]]
    return _with(
        before,
        id=f"{_first(before.id)}_r{round + 1}",
        uses={**before.uses, SO_FAR: before.id},
        **{"with": {**before.arguments, "remarks": said.get("remarks")}},
    )


def _first(id: str) -> str:
    """The id under which a task that was sent back was planned."""
    return re.sub(r"_r\d+$", "", id)
