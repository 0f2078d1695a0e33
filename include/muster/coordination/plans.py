"""A plan: the tasks that a goal was split into, what each needs and gives, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Annotated

from pydantic import Field, ValidationError

from muster.errors import PermanentError
from muster.misfits import misfits
from muster.yaml_model import Name, YamlModel

TOLD = 10
"""Mistakes that an error names."""
MOST_TASKS = 1_000
"""Each decision of who does what next looks at all tasks."""


class Task(YamlModel):
    """A part of a goal that one agent does in one go."""

    id: Name
    """Its name in the plan."""
    title: str | None = Field(default=None, max_length=200)
    """The name people read; default: the id in words."""
    ask: str = Field(min_length=1, max_length=50_000)
    """What is to be done: what the agent is asked."""
    needs: list[Name] = []
    """Skills that the agent must have all of; default: any agent of the team does it."""
    agent: Name | None = None
    """The agent that does it; default: any of the team that has the skills."""
    after: list[Name] = []
    """The tasks that it waits for, besides those that it uses."""
    uses: dict[Name, Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")]] = {}
    """What it is given of other tasks, by name: `task`, or `task.field` for a part of what the task gave."""
    gathers: list[Name] = []
    """Tasks whose results it is given together, by their ids, as `results`."""
    arguments: dict[str, object] = Field(default_factory=dict, alias="with")
    """Values that it is given besides."""
    returns: dict[str, object] | str | None = None
    """What it gives: a Pydantic model by name, or a JSON Schema; default: as the agent says, else text."""
    effort: float = Field(default=60, gt=0, le=1e7)
    """How long it is expected to take, in seconds; the order of tasks follows from it."""
    reads: list[Name] | None = None
    """Of the shared context, the keys that whoever does it may read; default: all that the team may."""
    writes: list[Name] | None = None
    """The keys that it may write; default: all that the team may."""
    touches: list[str] = []
    """The resources that it changes: files, records, names; `*` stands for any text."""

    @property
    def name(self) -> str:
        """What people read."""
        return self.title or self.id.replace("_", " ").capitalize()

    @cached_property
    def waits_for(self) -> tuple[str, ...]:
        """The tasks that have to be done before it, sorted."""
        used = (path.partition(".")[0] for path in self.uses.values())
        return tuple(sorted({*self.after, *self.gathers, *used}))

    @cached_property
    def required(self) -> frozenset[str]:
        """What an agent must have all of: skills, and the mark of the one agent that it may be for."""
        return frozenset(self.needs if self.agent is None else (*self.needs, mark(self.agent)))


def mark(agent: str) -> str:
    """What an agent has in place of a skill that no other one has."""
    return f"@{agent}"


@dataclass(frozen=True)
class Mistake:
    """Something that is wrong with a plan."""

    path: tuple[str | int, ...]
    """Where: the position of a task and a field of it; empty for the plan as a whole."""
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Plan:
    """Tasks in the order in which they are written; positions in it name them for good."""

    tasks: Sequence[Task]

    @classmethod
    def of(cls, value: object) -> Plan:
        """The plan that a value describes: a list of tasks, or a mapping that has one under `tasks`.

        Raises:
            PermanentError: it describes none, or one in which something is wrong; all of it is said.
        """
        listed = value.get("tasks") if isinstance(value, Mapping) else value
        if not isinstance(listed, list | tuple):
            given = "a mapping without `tasks`" if isinstance(value, Mapping) else type(value).__name__
            raise PermanentError(f"A plan is a list of tasks, not {given}.", remedy="Give a list, or `{tasks: [...]}`.")
        tasks = read(listed)
        if wrong := list(mistakes(tasks)):
            raise refusal(wrong)
        return cls(tasks)

    @classmethod
    def laid_out(cls, items: Sequence[object]) -> Plan:
        """The plan of a list as it is laid out, which was looked at before; None in it is no task any more."""
        return cls([Task(id=f"no_{n}", ask="-") if item is None else _task(item) for n, item in enumerate(items)])

    @cached_property
    def depths(self) -> Sequence[int]:
        """For each task the number of tasks in the longest chain that leads to it."""
        deep = [0] * len(self.tasks)
        for position in TopologicalSorter(dict(enumerate(self.before))).static_order():
            deep[position] = max((deep[earlier] + 1 for earlier in self.before[position]), default=0)
        return deep

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """The position of each task, by its id."""
        return {task.id: position for position, task in enumerate(self.tasks)}

    @cached_property
    def before(self) -> Sequence[Sequence[int]]:
        """For each task the positions of those that it waits for."""
        return [[self.positions[name] for name in task.waits_for] for task in self.tasks]

    @cached_property
    def remaining(self) -> Sequence[float]:
        """For each task the seconds from its beginning to the end of the longest chain of tasks that begins with it."""
        after: list[list[int]] = [[] for _ in self.tasks]
        for position, before in enumerate(self.before):
            for earlier in before:
                after[earlier].append(position)
        longest = [0.0] * len(self.tasks)
        order = TopologicalSorter(dict(enumerate(self.before))).static_order()
        for position in reversed(list(order)):
            longest[position] = self.tasks[position].effort + max(
                (longest[then] for then in after[position]), default=0
            )
        return longest


def read(listed: Sequence[object]) -> list[Task]:
    """Each as a task.

    Raises:
        PermanentError: one is none; all that is wrong is said.
    """
    tasks, wrong = [], []
    for position, each in enumerate(listed):
        try:
            tasks.append(_task(each))
        except ValidationError as error:
            wrong += [f"task {_said(each, position)}: {misfit}" for misfit in misfits(error)]
    if wrong:
        raise refusal(wrong)
    return tasks


def _task(value: object) -> Task:
    # A plan that another step gave has been through JSON; a strict model would refuse a whole number for a float in it.
    return value if isinstance(value, Task) else Task.model_validate(value)


def refusal(wrong: Sequence[object], remedy: str = "Mend the plan.") -> PermanentError:
    """The error that something is wrong with a plan; of many mistakes it names the first."""
    more = f"; and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
    told = "; ".join(map(str, wrong[:TOLD]))
    return PermanentError(f"The plan cannot be carried out: {told}{more}.", remedy=remedy)


def mistakes(tasks: Sequence[Task], able: Mapping[str, Collection[str]] | None = None) -> Iterator[Mistake]:
    """What is wrong with the tasks of a plan.

    Args:
        able: The skills of each agent that may be given a task, by its id; None when that is not known.
    """
    if not tasks:
        yield Mistake((), "there is no task in it")
    if len(tasks) > MOST_TASKS:
        yield Mistake((), f"it has {len(tasks):,} tasks, and a plan has at most {MOST_TASKS:,}: use a step with `each`")
    by_id: dict[str, Task] = {}
    for position, task in enumerate(tasks):
        if task.id in by_id:
            yield Mistake((position, "id"), f"there are two tasks `{task.id}`")
        by_id.setdefault(task.id, task)
    for position, task in enumerate(tasks):
        for name in task.after:
            if name not in by_id:
                yield Mistake((position, "after"), f"task `{task.id}` is after `{name}`, which is no task of the plan")
        for name in task.gathers:
            if name not in by_id:
                yield Mistake((position, "gathers"), f"task `{task.id}` gathers `{name}`, which is no task of the plan")
        if task.gathers and ("results" in task.arguments or "results" in task.uses):
            yield Mistake((position, "gathers"), f"task `{task.id}` has `results` twice: it gathers them, too")
        for argument, path in task.uses.items():
            if (said := _not_given(path, by_id)) is not None:
                yield Mistake((position, "uses", argument), f"task `{task.id}` uses `{path}`: {said}")
            if argument in task.arguments:
                yield Mistake((position, "uses", argument), f"task `{task.id}` has `{argument}` twice, in `with` too")
        if able is not None and not any(task.required <= {*skills, mark(name)} for name, skills in able.items()):
            yield Mistake((position, "needs"), _nobody(task, able))
    if circle := _circle(tasks, by_id):
        yield Mistake((), f"these tasks wait for each other: {' → '.join(circle)}")


def _said(value: object, position: int) -> str:
    name = value.get("id") if isinstance(value, Mapping) else None
    return f"`{name}`" if isinstance(name, str) else str(position + 1)


def _nobody(task: Task, able: Mapping[str, Collection[str]]) -> str:
    if task.agent is not None and task.agent not in able:
        return f"task `{task.id}` is for the agent `{task.agent}`, who is not in the team"
    if task.agent is not None:
        return f"task `{task.id}` is for the agent `{task.agent}`, who has not all of {_all(task.needs)}"
    known = {skill for skills in able.values() for skill in skills}
    missing = [skill for skill in task.needs if skill not in known]
    if missing:
        return f"task `{task.id}` needs {_all(missing)}, which no agent of the team has among its skills"
    return f"task `{task.id}` needs {_all(task.needs)}, and no one agent of the team has all of it: split the task"


def _all(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _not_given(path: str, by_id: Mapping[str, Task]) -> str | None:
    """Why there is nothing at a path into what a task gives; None where there is, or nobody knows."""
    name, *fields = path.split(".")
    if name not in by_id:
        return f"`{name}` is no task of the plan"
    schema: object = by_id[name].returns
    for field in fields:
        if not isinstance(schema, Mapping):
            return None
        properties = schema.get("properties")
        if not isinstance(properties, Mapping):
            return None
        if field not in properties:
            return f"what `{name}` returns has no `{field}`"
        schema = properties[field]
    return None


def _circle(tasks: Iterable[Task], by_id: Mapping[str, Task]) -> list[str] | None:
    try:
        TopologicalSorter({task.id: [name for name in task.waits_for if name in by_id] for task in tasks}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None
