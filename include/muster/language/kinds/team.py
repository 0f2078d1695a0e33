"""`team`: agents who carry out a plan together."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from muster.coordination.formation import form
from muster.coordination.modes import JOIN, Brief, ModeName, Rules, begin, grow
from muster.coordination.plans import Plan, Task, mistakes, refusal
from muster.errors import PermanentError
from muster.language.expressions import evaluate, is_expression
from muster.language.plain_returns import not_plain
from muster.language.problems import did_you_mean
from muster.language.resolved_step import ResolvedStep
from muster.language.returns import mistake
from muster.language.shares import Shares, resolve_shares
from muster.language.step_kind import StepKind, object_of
from muster.language.steps import SharingStep
from muster.language.teams import MOST_PLACES, PlannedBy, Team, check_mode, planner_of, rules_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from muster.language.problems import Problem
    from muster.language.site_catalog import SiteCatalog
    from muster.language.spot import Spot


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
    mode: ModeName | None = None
    lead: str | None = None
    planner: str | None = None
    rounds: int = 0
    max_tasks: int = 0
    """Tasks that the plan may come to have; 0 where none may come to it."""
    repeats: int = 2
    briefed: bool = False
    """True when `each` gives a plan and what the tasks of the mode are given, one after the other."""

    @property
    def grows(self) -> bool:
        """True when tasks may come to the plan while it is carried out."""
        return self.max_tasks > 0

    @property
    def rules(self) -> Rules:
        """How the team works."""
        return Rules(
            mode=self.mode,
            lead=self.lead,
            planner=self.planner,
            rounds=self.rounds,
            most=self.max_tasks,
            repeats=self.repeats,
        )

    def added(
        self, plan: Plan, position: int, output: object, chain: Sequence[str], able: Mapping[str, Collection[str]]
    ) -> Sequence[Task]:
        """The tasks that come to the plan because of what one of its tasks gave.

        Raises:
            PermanentError: an agent asks for something that cannot be done, or may not; it says all that is wrong.
        """
        if not self.grows or not (added := grow(plan, position, output, self.rules, chain)):
            return ()
        wrong = [*not_plain(added), *map(str, mistakes([*plan.tasks, *added], able))]
        if wrong:
            raise refusal(wrong)
        return added

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
        plan, said = value if self.briefed and isinstance(value, list) else (value, {})
        written = self.each[0] if self.briefed and isinstance(self.each, list) else self.each
        # Only a mode begins without a plan; an expression that gives none is a mistake.
        tasks = [] if written == [] else Plan.of(plan).tasks
        if isinstance(written, str) and (wrong := list(not_plain(tasks))):
            raise refusal(wrong)
        if self.briefed:
            tasks = Plan.of(begin(tasks, self.rules, Brief(**said))).tasks
        return [task.model_dump(by_alias=True) for task in tasks]

    def depths_of(self, items: Sequence[object]) -> Sequence[int]:
        """For each task how many were done one after the other before it."""
        return Plan.laid_out(items).depths if items else ()

    def names_of(self, items: Sequence[object]) -> list[str | None]:
        """The ids of the tasks."""
        return [str(item["id"]) if isinstance(item, dict) else None for item in items]


def _members(step: TeamStep, catalog: SiteCatalog) -> list[str]:
    known = catalog.agents.by_id
    named = step.team.members
    # Whoever leads or plans is in the team, also where the others are named.
    leads = [name for name in (step.team.lead, planner_of(step.team)) if name is not None and named is not None]
    return [name for name in dict.fromkeys([*(named or sorted(known)), *leads]) if name in known]


def _brief(step: TeamStep, catalog: SiteCatalog) -> dict[str, object]:
    team: dict[str, object] = {name: sorted(skills) for name, skills in _able(step, catalog).items()}
    said = {"goal": step.team.goal, "join": step.team.join, "team": team}
    return {name: value for name, value in said.items() if value is not None}


def _able(step: TeamStep, catalog: SiteCatalog) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(catalog.agents.by_id[name].skills) for name in _members(step, catalog)}


def _resolve(step: TeamStep, catalog: SiteCatalog) -> dict[str, object]:
    tasks = [task.model_dump(by_alias=True, exclude_defaults=True) for task in step.team.tasks or ()]
    plan, rules = step.team.plan if isinstance(step.team.plan, str) else tasks, rules_of(step.team)
    briefed = rules.mode is not None or rules.planner is not None
    return {
        "each": [plan, _brief(step, catalog)] if briefed else plan,
        "mode": rules.mode,
        "lead": rules.lead,
        "planner": rules.planner,
        "rounds": rules.rounds,
        "max_tasks": rules.most,
        "repeats": rules.repeats,
        "briefed": briefed,
        "failures": step.failures or "undo",
        "context": resolve_shares(step.context),
        "members": tuple(_members(step, catalog)),
        "size": step.team.size,
    }


def _check(step: TeamStep, spot: Spot) -> Iterator[Problem]:
    for key in ("each", "pack"):
        if getattr(step, key) is not None:
            yield spot.problem(f"the items of a team are its tasks, so it has no `{key}`", key, key=True)
    if isinstance(step.team.plan, str) and not is_expression(step.team.plan):
        suggestion = "Write an expression that gives it, such as `{{ steps.plan }}`, or write `tasks`."
        yield spot.problem("`plan` is text, which is no plan", "team", "plan", suggestion=suggestion)
    size = step.team.size
    if isinstance(size, str) and not is_expression(size):
        suggestion = 'Write a number, or an expression such as `"{{ inputs.agents }}"`.'
        yield spot.problem("`size` is text, which is no number", "team", "size", suggestion=suggestion)
    yield from check_mode(step.team, spot)
    for position, name in enumerate(step.team.members or ()):
        yield from spot.agent(name, "team", "members", position)
    if not spot.catalog.agents.by_id:
        yield spot.problem("a team needs agents, and there is none", "team", suggestion="Write `agents/<file>.yaml`.")
        return
    able = _able(step, spot.catalog)
    tasks, rules = step.team.tasks or [], rules_of(step.team)
    known = {skill for skills in able.values() for skill in skills}
    ids, found = [task.id for task in tasks], list(mistakes(tasks, able)) if tasks else []
    for wrong in found:
        field = wrong.path[1] if len(wrong.path) > 1 else None
        named = {"after": ids, "uses": ids, "gathers": ids, "needs": sorted(known)}.get(str(field), [])
        said = tasks[int(wrong.path[0])] if wrong.path else None
        given = (
            said.waits_for if said is not None and field in ("after", "uses", "gathers") else said.needs if said else ()
        )
        hints = [did_you_mean(name, named) for name in given if name not in named]
        yield spot.problem(wrong.message, "team", "tasks", *wrong.path, suggestion=next(filter(None, hints), None))
    if tasks and not found:
        try:
            places = size if isinstance(size, int) else MOST_PLACES
            plan = Plan.of(begin(tasks, rules, Brief(goal=step.team.goal, join=step.team.join)))
            form(plan, able, places, grows=rules.most > 0)
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
    ids = [task.id for task in step.team.tasks or ()]
    if step.team.mode == "parallel" and step.team.join is not None:
        ids.append(JOIN)
    return object_of(ids) if ids and not rules_of(step.team).most else None


KIND = StepKind(
    model=TeamStep,
    resolved=ResolvedTeam,
    place=25,
    parts=(Team, PlannedBy, Task),
    expressions=frozenset({"team"}),
    lanes=("async", "worker"),
    resolve=_resolve,
    gives=_gives,
    check=_check,
    example="""automation: handle_letter
inputs:
  uri: { type: string }
  plan: { type: array, default: [] }
  led: { type: boolean, default: false }
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
          agent: clerk
          after: [sort]
          gathers: [sum_up]
          with: { letter: "{{ steps.read }}" }
          touches: ["letters/*"]

  - id: more
    when: "{{ inputs.plan | length > 0 }}"
    team: { plan: "{{ inputs.plan }}" }

  - id: reply
    when: "{{ inputs.led }}"
    team:
      mode: hierarchical
      lead: secretary
      goal: Answer {{ inputs.uri }}.
      rounds: 2
      max_tasks: 20
      repeats: 1

  - id: file
    when: "{{ inputs.led }}"
    team:
      mode: parallel
      plan: { by: clerk }
      goal: File what {{ inputs.uri }} names.
      lead: clerk
      join: Say where all of it is filed.
""",
    output="What each task gave, by its id; null where nothing came of it.",
    output_example='{"sum_up": {"summary": "A letter from post@example.com.", "amount": 1000.0}, '
    '"sort": "purchasing", "look_again": "purchasing"}',
)
