"""`agent`, or `needs`: asks an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import ConfigDict, Field

from muster.language.fields import Shape, Text, Values
from muster.language.problems import all_of, did_you_mean
from muster.language.resolved_step import ResolvedStep
from muster.language.returns import mistake
from muster.language.shares import resolve_shares
from muster.language.step_kind import StepKind
from muster.language.steps import Fallback, Needs, SharingStep
from muster.yaml_model import Name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from muster.agents.spec import AgentSpec
    from muster.language.problems import Problem
    from muster.language.site_catalog import SiteCatalog
    from muster.language.spot import Spot


class AgentStep(SharingStep):
    """Asks an agent."""

    # The discriminator sees to this; editors learn it from here.
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["agent"]}, {"required": ["needs"]}]})

    kind: ClassVar[str] = "agent"
    keys: ClassVar[tuple[str, ...]] = ("agent", "needs")
    agent: Name | None = None
    """The agent's id."""
    needs: Needs | None = None
    """In place of `agent`: what it must be good at. The agent with the fewest other skills is chosen; while its
    circuit breaker is open, the next one that fits."""
    ask: Text
    """What the agent is asked to do."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """Values the agent is given besides, by name. They are the arguments of its offline skill."""
    returns: Shape | None = None
    """What it answers: a Pydantic model by name, or a JSON Schema; default: as the agent says, else text."""
    fallback: Fallback | None = None
    """What takes over when the step failed for good."""


class ResolvedAgent(ResolvedStep):
    """Asks an agent."""

    kind: Literal["agent"]
    agent: str
    """Its id, also when the file says `needs`."""
    others: tuple[str, ...] = ()
    """Ids of the other agents that fit what is needed, who take over while the circuit breaker of one is open."""
    ask: str
    arguments: dict[str, object] = {}
    returns: dict[str, object] | str | None = None
    """The step's own, else the agent's."""

    @property
    def agents(self) -> Sequence[str]:
        """Ids of the agents that may do it, first the one that is asked first."""
        return (self.agent, *self.others)


def _able(step: AgentStep, catalog: SiteCatalog) -> list[AgentSpec]:
    """The agent a step names, or those that fit what it needs, the one that is chosen first."""
    if step.agent is not None:
        named = catalog.agents.get(step.agent)
        return [named] if named else []
    return catalog.agents.fitting(step.needs) if step.needs else []


def _resolve(step: AgentStep, catalog: SiteCatalog) -> dict[str, object]:
    first, *others = _able(step, catalog)
    return {
        "agent": first.id,
        "context": resolve_shares(step.context),
        "others": tuple(other.id for other in others),
        "ask": step.ask,
        "arguments": step.arguments,
        "returns": step.returns if step.returns is not None else first.returns,
        "fallback": step.fallback.resolved(step.arguments, step.ask) if step.fallback else None,
    }


def _check(step: AgentStep, spot: Spot) -> Iterator[Problem]:
    yield from spot.fallback(step.fallback, step.arguments, step.ask)
    if wrong := mistake(step.returns, spot.catalog.skills):
        yield spot.problem(wrong[0], "returns", suggestion=wrong[1])
    if step.agent is not None:
        yield from spot.agent(step.agent, "agent")
    elif step.needs is not None and not _able(step, spot.catalog):
        wanted = f"has {all_of(step.needs.skills)} among its skills"
        place = f" in the department `{step.needs.department}`" if step.needs.department else ""
        agents = spot.catalog.agents.by_id.values()
        known = {skill for agent in agents for skill in agent.skills}
        hints = [did_you_mean(skill, known) for skill in step.needs.skills if skill not in known]
        yield spot.problem(f"no agent{place} {wanted}", "needs", suggestion=next(filter(None, hints), None))


def _gives(step: AgentStep, catalog: SiteCatalog) -> dict[str, object] | None:
    able = _able(step, catalog)
    if step.fallback is not None or not able:
        return None
    returns = step.returns if step.returns is not None or len(able) > 1 else able[0].returns
    return returns if isinstance(returns, dict) else None


KIND = StepKind(
    model=AgentStep,
    resolved=ResolvedAgent,
    place=20,
    parts=(Needs,),
    expressions=frozenset({"ask"}),
    lanes=("async", "worker"),
    resolve=_resolve,
    gives=_gives,
    check=_check,
    example="""automation: summarise_letter
inputs:
  uri: { type: string }
steps:
  - id: read
    skill: office.read_letter
    with: { uri: "{{ inputs.uri }}" }

  - id: summarise
    needs: { skills: [summaries], department: office }
    ask: Summarise the letter in one sentence, and name the amount.
    with: { letter: "{{ steps.read }}" }
    returns:
      type: object
      properties: { summary: { type: string }, amount: { type: number } }
      required: [summary, amount]
    fallback: { agent: clerk, ask: "Summarise {{ steps.read }} briefly." }
""",
    output="What `returns` describes, of the step or else of the agent; text where neither says it.",
    output_example='{"summary": "A letter from post@example.com.", "amount": 1000.0}',
)
