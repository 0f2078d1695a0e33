"""What an agent is: the model of one agent, and of the file that lists a department's agents."""

from __future__ import annotations

from pydantic import Field

from muster.isolation.spec import Command
from muster.yaml_model import Name, SkillName, Usd, YamlModel


class AgentLimits(YamlModel):
    """Where one work item by an agent stops; reaching a limit fails that call."""

    requests: int = Field(default=10, ge=1, le=1000)
    """Most requests to the model."""
    tool_calls: int | None = Field(default=20, ge=0, le=10_000)
    """Most calls of tools; null for no limit."""
    tokens: int | None = Field(default=None, ge=1)
    """Most tokens, input and output together; null for no limit."""
    usd: Usd | None = None
    """Most money in US dollars; null leaves it to the automation's `budget`."""


class AgentSpec(YamlModel):
    """Who an agent is, what it can do, which models it asks and what it may use."""

    id: Name
    """The name a step calls the agent by."""
    title: str | None = None
    """The name people read; default: the id in words."""
    department: Name | None = None
    """The department the agent works for; default: the file's."""
    role: str
    """What the agent is, in one sentence; the first line of its instructions to the model."""
    skills: list[Name] = []
    """What the agent is good at: the words that `needs` in a step is matched against."""
    tiers: list[str] = []
    """Airflow connections to models in order of preference; when one fails the next is asked."""
    tools: list[SkillName] = []
    """The skills the agent may call as tools. It is given no others."""
    instructions: str = ""
    """How to do the work: the text the model is given before the step's `ask`."""
    returns: str | dict[str, object] | None = None
    """What it answers when the step does not say: a Pydantic model by name, or a JSON Schema; else text."""
    limits: AgentLimits = AgentLimits()
    """Where one work item stops."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """The model's sampling temperature; null for the model's own default."""
    retries: int = Field(default=2, ge=0, le=10)
    """How often the model is asked to correct an answer that does not fit `returns`."""
    command: Command | None = None
    """In place of a model: an outside program that does the work."""
    offline: SkillName | None = None
    """The skill that answers in its place when no connection of its tiers is configured; of an agent with a `command`,
    in rehearsals."""

    @property
    def name(self) -> str:
        """What people read: the title, else the id in words."""
        return self.title or self.id.replace("_", " ").capitalize()


class AgentFile(YamlModel):
    """A file `agents/<department>.yaml`: the agents of one department."""

    department: Name
    """The department of every agent in the file that names no other."""
    tiers: list[str] = []
    """Connections of every agent in the file that names none."""
    agents: list[AgentSpec] = Field(min_length=1)
    """The agents."""

    def specs(self) -> list[AgentSpec]:
        """The agents with the file's department and tiers filled in."""
        return [
            agent.model_copy(
                update={"department": agent.department or self.department, "tiers": agent.tiers or self.tiers}
            )
            for agent in self.agents
        ]
