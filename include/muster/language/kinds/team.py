"""`team`: agents who carry out a plan together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from muster.coordination.formation import form
from muster.coordination.plans import Plan, Task, mistakes, refusal
from muster.errors import PermanentError
from muster.language.expressions import evaluate, is_expression
from muster.language.fields import Words
from muster.language.problems import did_you_mean
from muster.language.resolved_step import ResolvedStep
from muster.language.returns import mistake, schema_mistake
from muster.language.shares import Shares, resolve_shares
from muster.language.step_kind import StepKind, object_of
from muster.language.steps import SharingStep
from muster.yaml_model import YamlModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from muster.language.problems import Problem
    from muster.language.site_catalog import SiteCatalog
    from muster.language.spot import Spot


MOST_PLACES = 100


class Team(YamlModel):
    """Who carries out a plan, and which."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["plan"]}, {"required": ["tasks"]}]})

    plan: str | None = Field(default=None, min_length=1, max_length=50_000)
    """An expression that gives the plan, which is a list of tasks: what an agent, a skill or a person has planned."""
    tasks: list[Task] | None = Field(default=None, min_length=1)
    """In place of `plan`: the tasks themselves."""
    members: Words | None = None
    """Ids of the agents that may be members, those preferred first; default: every agent there is."""
    size: Annotated[int, Field(ge=1, le=MOST_PLACES)] | Annotated[str, Field(max_length=1_000)] = 3
    """How many tasks are done side by side, or an expression that gives it. The smallest set of agents that can do all
    tasks is chosen, and further places go where there is most work; an agent may have several."""


class TeamStep(SharingStep):
    """A team of agents that carries out a plan: each member takes the next task that it can do."""

    kind: ClassVar[str] = "team"
    list_key: ClassVar[str] = "team"
    team: Team
    """Who is in the team, and what it does."""

    @property
    def fans_out(self) -> bool:
        """True: its items are the tasks of its plan."""
        return True


class ResolvedTeam(ResolvedStep):
    """A team that carries out a plan; `each` gives the plan."""

    pulls: ClassVar[bool] = True
    kind: Literal["team"]
    members: tuple[str, ...]
    """Ids of the agents that may be members."""
    size: int | str

    def places(self, variables: Mapping[str, object]) -> int:
        """How many members the team has at most.

        Raises:
            PermanentError: `size` gives no number that it can be.
        """
        size = evaluate(self.size, variables, where=f"step {self.id}, team.size")
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_PLACES:
            raise PermanentError(
                f"The `size` of the team {self.id} is {size!r:.100}, which is no whole number from 1 to {MOST_PLACES}.",
                remedy="Mend the expression, or start the run with an input that fits.",
            )
        return size

    @property
    def agents(self) -> Sequence[str]:
        """Ids of the agents that may do it."""
        return self.members

    def listed(self, value: object) -> Sequence[object]:
        """The tasks of a plan, each as a mapping.

        Raises:
            PermanentError: it is none, or something is wrong with it.
        """
        tasks = Plan.of(value).tasks
        if isinstance(self.each, str):
            wrong = [f"task `{task.id}`: {said}" for task in tasks if (said := _not_plain(task.returns))]
            if wrong:
                raise refusal(wrong)
        return [task.model_dump(by_alias=True) for task in tasks]

    def depths_of(self, items: Sequence[object]) -> Sequence[int]:
        """For each task how many were done one after the other before it."""
        return Plan.of(items).depths if items else ()

    def names_of(self, items: Sequence[object]) -> list[str]:
        """The ids of the tasks."""
        return [str(item["id"]) for item in items if isinstance(item, dict)]


_NOT_PLAIN = frozenset({"$ref", "$dynamicRef", "pattern", "patternProperties"})
"""Words of a JSON Schema that a plan from elsewhere may not use: what they ask for can take for ever to find out."""
_LARGEST = 500


def _not_plain(returns: dict[str, object] | str | None) -> str | None:
    """What is wrong with the `returns` of a task that was not written in the file; None when nothing is."""
    if returns is None:
        return None
    if isinstance(returns, str):
        # Such a name is that of a file, which would be imported.
        return f"`returns` must be a JSON Schema here, not the name `{returns[:100]}`"
    nodes, waiting = 0, list[object]([returns])
    while waiting:
        nodes += 1
        match waiting.pop():
            case dict() as node:
                if found := sorted(_NOT_PLAIN & node.keys()):
                    return f"`returns` may not use `{found[0]}` here"
                waiting += node.values()
            case list() as items:
                waiting += items
        if nodes > _LARGEST:
            return f"`returns` is larger than {_LARGEST} values"
    return (schema_mistake(returns) or (None,))[0]


def _members(step: TeamStep, catalog: SiteCatalog) -> list[str]:
    known = catalog.agents.by_id
    return [name for name in step.team.members or sorted(known) if name in known]


def _able(step: TeamStep, catalog: SiteCatalog) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(catalog.agents.by_id[name].skills) for name in _members(step, catalog)}


def _resolve(step: TeamStep, catalog: SiteCatalog) -> dict[str, object]:
    tasks = [task.model_dump(by_alias=True, exclude_defaults=True) for task in step.team.tasks or ()]
    return {
        "each": step.team.plan if step.team.plan is not None else tasks,
        "failures": step.failures or "undo",
        "context": resolve_shares(step.context),
        "members": tuple(_members(step, catalog)),
        "size": step.team.size,
    }


def _check(step: TeamStep, spot: Spot) -> Iterator[Problem]:
    for key in ("each", "pack"):
        if getattr(step, key) is not None:
            yield spot.problem(f"the items of a team are its tasks, so it has no `{key}`", key, key=True)
    if step.team.plan is not None and not is_expression(step.team.plan):
        suggestion = "Write an expression that gives it, such as `{{ steps.plan }}`, or write `tasks`."
        yield spot.problem("`plan` is text, which is no plan", "team", "plan", suggestion=suggestion)
    size = step.team.size
    if isinstance(size, str) and not is_expression(size):
        suggestion = 'Write a number, or an expression such as `"{{ inputs.agents }}"`.'
        yield spot.problem("`size` is text, which is no number", "team", "size", suggestion=suggestion)
    if (step.team.plan is None) == (step.team.tasks is None):
        message = "`plan` and `tasks` exclude each other" if step.team.plan else "`plan` is missing, or `tasks`"
        yield spot.problem(message, "team", key=True, suggestion="Write the tasks, or an expression that gives them.")
    for position, name in enumerate(step.team.members or ()):
        yield from spot.agent(name, "team", "members", position)
    if not spot.catalog.agents.by_id:
        yield spot.problem("a team needs agents, and there is none", "team", suggestion="Write `agents/<file>.yaml`.")
        return
    able = _able(step, spot.catalog)
    tasks = step.team.tasks or []
    known = {skill for skills in able.values() for skill in skills}
    ids, found = [task.id for task in tasks], list(mistakes(tasks, able)) if tasks else []
    for wrong in found:
        field = wrong.path[1] if len(wrong.path) > 1 else None
        named = {"after": ids, "uses": ids, "needs": sorted(known)}.get(str(field), [])
        said = tasks[int(wrong.path[0])] if wrong.path else None
        given = said.waits_for if said is not None and field in ("after", "uses") else said.needs if said else ()
        hints = [did_you_mean(name, named) for name in given if name not in named]
        yield spot.problem(wrong.message, "team", "tasks", *wrong.path, suggestion=next(filter(None, hints), None))
    if tasks and not found:
        try:
            form(Plan(tasks), able, size if isinstance(size, int) else MOST_PLACES)
        except PermanentError as error:
            yield spot.problem(error.message.removesuffix("."), "team", suggestion=error.remedy)
    shares = step.context or Shares()
    for right, allowed in (("reads", shares.reads), ("writes", shares.writes)):
        for position, task in enumerate(tasks):
            for name in getattr(task, right) or ():
                if name not in allowed:
                    hint = did_you_mean(name, allowed) or f"Add it to the step's own `context`, under `{right}`."
                    message = f"the team {right} no `{name}` of the shared context"
                    yield spot.problem(message, "team", "tasks", position, right, suggestion=hint)
    for position, task in enumerate(tasks):
        if said_of := mistake(task.returns, spot.catalog.skills):
            yield spot.problem(said_of[0], "team", "tasks", position, "returns", suggestion=said_of[1])


def _gives(step: TeamStep, catalog: SiteCatalog) -> Mapping[str, object] | None:
    return object_of(task.id for task in step.team.tasks) if step.team.tasks else None


KIND = StepKind(
    model=TeamStep,
    resolved=ResolvedTeam,
    place=25,
    parts=(Team, Task),
    expressions=frozenset({"team"}),
    lanes=("async", "worker"),
    resolve=_resolve,
    gives=_gives,
    check=_check,
    example="""automation: handle_letter
inputs:
  uri: { type: string }
  plan: { type: array, default: [] }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: handle
    team:
      members: [clerk, secretary]
      size: 2
      tasks:
        - id: sum_up
          title: Sum the letter up
          ask: Summarise the letter in one sentence, and name the amount.
          needs: [summaries]
          with: { letter: "{{ steps.read }}" }
          returns:
            type: object
            properties: { summary: { type: string }, amount: { type: number } }
          effort: 20
        - id: sort
          ask: Which department is this letter for?
          needs: [sorting]
          uses: { amount: sum_up.amount }
          with: { letter: "{{ steps.read }}" }
        - id: look_again
          ask: Which department is this letter for?
          needs: [letters]
          after: [sort]
          with: { letter: "{{ steps.read }}" }
          touches: ["letters/*"]

  - id: more
    when: "{{ inputs.plan | length > 0 }}"
    team: { plan: "{{ inputs.plan }}" }
""",
    output="What each task gave, by its id; null where nothing came of it.",
    output_example='{"sum_up": {"summary": "A letter from post@example.com.", "amount": 1000.0}, '
    '"sort": "purchasing", "look_again": "purchasing"}',
)
