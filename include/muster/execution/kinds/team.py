"""`team`: a member's agent does a task of the plan, and another one that can while its circuit breaker is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from muster.coordination.plans import Task, mark
from muster.errors import PermanentError
from muster.execution.action import Action
from muster.execution.kinds.agent import ask_one_of, put
from muster.execution.services import Services
from muster.execution.work_item import ActionResult, WorkItem
from muster.language.kinds.team import ResolvedTeam
from muster.language.shares import ResolvedShares


async def _act(services: Services, work_item: WorkItem, step: ResolvedTeam) -> ActionResult:
    task = Task.model_validate(work_item.variables["item"])
    given = work_item.variables["tasks"]
    data = {**task.arguments, **{name: _part(given, path, task) for name, path in task.uses.items()}}
    if task.gathers:
        data["results"] = {name: _part(given, name, task) for name in task.gathers}
    # Its words are not evaluated: they may be a model's, which could write expressions into them.
    return await ask_one_of(
        services,
        work_item,
        _agents(work_item, step, task),
        lambda agent: put(services, work_item, agent, task.ask, data, task.returns, _shares(step, task)),
    )


def _shares(step: ResolvedTeam, task: Task) -> ResolvedShares | None:
    """What of the shared context a task is for: of what the team may read and write, what the task says.

    Raises:
        PermanentError: it says more than the team may.
    """
    own = step.context or ResolvedShares()
    for right, named, allowed in (("read", task.reads, own.reads), ("write", task.writes, own.writes)):
        if more := sorted({*(named or ())} - {*allowed}):
            raise PermanentError(
                f"Task `{task.id}` is to {right} `{more[0]}` of the shared context, which the team {step.id} may not.",
                remedy=f"Add it to the `context` of the step, under `{right}s`, or mend the plan.",
            )
    if step.context is None:
        return None
    reads = own.reads if task.reads is None else tuple(task.reads)
    return own.model_copy(update={"reads": reads, "writes": own.writes if task.writes is None else tuple(task.writes)})


def _agents(work_item: WorkItem, step: ResolvedTeam, task: Task) -> Sequence[str]:
    """The agents of the team that can do the task: first the one that it was assigned to.

    After an attempt that failed the next one is first, so that whoever fails is not asked again before all the others.
    """
    skills = {name: {*work_item.view.definition.agents[name].skills, mark(name)} for name in step.members}
    able = [name for name, has in skills.items() if task.required <= has]
    first = (able.index(work_item.agent) if work_item.agent in able else 0) + work_item.failures
    return [able[(first + number) % len(able)] for number in range(len(able))]


def _part(given: object, path: str, task: Task) -> object:
    """What a task uses of the tasks before it.

    Raises:
        PermanentError: there is no such part in what the other task gave.
    """
    name, *fields = path.split(".")

    def below(value: object, field: str) -> object:
        if isinstance(value, Mapping) and field in value:
            return value[field]
        raise PermanentError(
            f"Task `{task.id}` uses `{path}`, and what `{name}` gave has no `{field}`.",
            remedy=f"Let `returns` of `{name}` say what it gives, or mend `uses`.",
        )

    return reduce(below, [name, *fields], given)


ACTION = Action(_act)
