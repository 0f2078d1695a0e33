"""What every step a person writes has around it, and the parts that several kinds share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Union

from pydantic import BaseModel, Discriminator, Field, Tag

from muster.language.channels import CHANNELS
from muster.language.durations import Duration
from muster.language.fields import Elements, Flag, Line, Pack, Text, Values, Words
from muster.language.resolved import ResolvedAgentFallback, ResolvedSkillFallback
from muster.language.resolved_step import Failures
from muster.language.shares import Shares
from muster.skills.index import Lane
from muster.yaml_model import Name, SkillName, YamlModel

TAG = "kind:"
"""Prefix of the tags Pydantic puts into an error's location; a key of YAML cannot be mistaken for one."""


RetryClass = Literal["rate_limit", "overload", "timeout", "auth", "bad_request", "bad_output", "transient"]
"""The kinds of failure that a `retry` can tell apart."""


class ClassRetry(YamlModel):
    """What differs for one kind of failure."""

    times: int | None = Field(default=None, ge=0, le=100)
    """How often this kind is tried again, counted for itself; default: counted with the others."""
    delay: Duration | None = None
    """The longest wait before the second attempt; default: as for the others, for `bad_output` none."""
    backoff: float | None = Field(default=None, ge=1, le=10)
    """What that is multiplied by for each further wait; default: as for the others."""
    max_delay: Duration | None = None
    """The longest wait between two attempts; default: as for the others."""


class Retry(YamlModel):
    """How a failed attempt is repeated. Only failures that may pass are.

    Each wait is drawn between nothing and a limit that grows, so that many steps that failed together do not come
    back together. When the other side says how long to wait (`Retry-After`), that is waited for, and up to `delay`
    more; never longer than `max_delay`. `bad_output` is asked afresh without a wait. `auth` and `bad_request` are not
    repeated unless `on` says so; nor is anything that is permanent by its kind.
    """

    times: int = Field(ge=0, le=100)
    """How often the step is tried again after its first attempt."""
    delay: Duration = "10s"
    """The longest wait before the second attempt."""
    backoff: float = Field(default=2, ge=1, le=10)
    """What that is multiplied by for each further wait; 1 keeps it constant."""
    max_delay: Duration = "10m"
    """The longest wait between two attempts."""
    on: dict[RetryClass, ClassRetry] = {}
    """What differs by kind of failure: `rate_limit`, `overload`, `timeout`, `auth`, `bad_request`, `bad_output`,
    `transient` (anything else that may pass)."""


class SkillFallback(YamlModel):
    """A skill that does the work when the step failed for good."""

    skill: SkillName
    """The skill's name."""
    arguments: Values | None = Field(default=None, alias="with")
    """Its arguments; default: those of the step."""

    def resolved(self, given: Mapping[str, object], ask: str | None) -> ResolvedSkillFallback:
        """As it is in a definition; `given` and `ask` are the step's own."""
        arguments = dict(given if self.arguments is None else self.arguments)
        return ResolvedSkillFallback(skill=self.skill, arguments=arguments)


class AgentFallback(YamlModel):
    """An agent that does the work when the step failed for good."""

    agent: Name
    """The agent's id."""
    ask: Text | None = None
    """What it is asked; default: what the step's agent was asked. A skill's fallback must say it."""
    arguments: Values | None = Field(default=None, alias="with")
    """What it is given besides; default: the arguments of the step."""

    def resolved(self, given: Mapping[str, object], ask: str | None) -> ResolvedAgentFallback:
        """As it is in a definition; `given` and `ask` are the step's own."""
        arguments = dict(given if self.arguments is None else self.arguments)
        return ResolvedAgentFallback(agent=self.agent, ask=self.ask or ask or "", arguments=arguments)


def union_of(models: Mapping[str, type[BaseModel]], keys: Mapping[str, str] | None = None) -> object:
    """One of the models, told apart by the one key of `keys` that a mapping has.

    Args:
        models: By the name of their kind.
        keys: The kind that each key stands for; default: each kind is a key.
    """
    kinds = {name: name for name in models} if keys is None else keys

    def tag(value: object) -> str | None:
        if isinstance(value, BaseModel):
            return next((TAG + name for name, model in models.items() if isinstance(value, model)), None)
        present = [key for key in kinds if key in value] if isinstance(value, dict) else []
        return TAG + kinds[present[0]] if len(present) == 1 else None

    members = tuple(Annotated[model, Tag(TAG + name)] for name, model in models.items())
    return Annotated[Union[members], Discriminator(tag)]  # noqa: UP007 - its members are not known to the reader


if TYPE_CHECKING:
    Fallback = SkillFallback | AgentFallback
else:
    Fallback = union_of({"skill": SkillFallback, "agent": AgentFallback})
"""What takes over when a step failed for good: a skill or an agent."""


class StepBase(YamlModel):
    """What every kind of step has around it."""

    kind: ClassVar[str]
    keys: ClassVar[tuple[str, ...]] = ()
    """The keys of which each makes a step one of this kind, where the kind's name is not the only one."""
    list_key: ClassVar[str] = "each"
    """The key that gives the list of a step that fans out."""
    id: Name
    """The step's name: `steps.<id>` in expressions, and the task's name in Airflow. Not `open`, `close` or `unwind`:
    Muster's own tasks are called so."""
    title: Line | None = None
    """The name people read; default: the id in words."""
    after: Words | None = None
    """The steps this one waits for; default: the step above, or the branch it is a way of."""
    when: Flag | None = None
    """The step is skipped unless this expression is true; in a fan-out it is asked item by item. Text is refused."""
    priority: int | None = Field(default=None, ge=1, le=1000)
    """Airflow's priority weight; higher goes first when slots are short."""
    pool: str | None = Field(default=None, min_length=1, max_length=256)
    """The Airflow pool that limits how many such steps run at once."""

    @property
    def fans_out(self) -> bool:
        """True when it does its work for each item of a list."""
        return False

    @property
    def ways(self) -> Sequence[Way]:
        """The ways that a branch chooses from; empty for every other kind."""
        return ()


class MappedStep(StepBase):
    """A step that can be repeated for every item of a list."""

    each: Elements | None = None
    """The list to fan out over; in the step's expressions the item is `item` and its position `index`. The
    output is a list of the same length."""
    failures: Failures | None = None
    """What an item that fails for good means for the others. `continue`: they go on. `stop`: no further item begins,
    those under way finish, and what was done stands. `undo`: the whole step has failed, so no further item begins and
    what the run did is undone. Default: `continue`, of a team `undo`."""

    @property
    def fans_out(self) -> bool:
        """True when it does its work for each item of a list."""
        return self.each is not None


class Compensation(YamlModel):
    """What undoes a step when the run fails later on, or is cancelled.

    It runs for everything the step started, also when nobody knows whether it happened, so it must accept that
    it never did. Its expressions know what the step's know, and `output`: what the step gave back, or null.
    """

    skill: SkillName
    """The skill that undoes."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """Its arguments. Besides, its `context.undoes` names the work to undo by its idempotency key."""
    retry: Retry | None = None
    """How a failed attempt is repeated; default: 5 times. After the last one the run is stuck."""
    timeout: Duration | None = None
    """How long one attempt may take; default: the skill's own limit, else 15 minutes."""


class WorkStep(MappedStep):
    """A step that performs work, and so can fail, be repeated and be replaced."""

    pack: Pack | None = None
    """How many items of `each` share one task instance: a number, `all`, or `auto`, which is `all` where they wait in
    the triggerer and no `pool` counts them, else 1; default: 1. An operator takes one."""
    retry: Retry | None = None
    """How a failed attempt is repeated; default: not at all."""
    timeout: Duration | None = None
    """How long one attempt may take; default: the skill's own limit, else none."""
    compensate: Compensation | None = None
    """What undoes it when the run fails later on, or is cancelled."""
    irreversible: bool = False
    """True for what nothing can undo: on every way that leads to it a person must have approved it. A question that
    its own `when` skips is none: its `when` says for what nobody need be asked."""
    lock: Words | None = None
    """Names of which only one work item at a time may hold each, in all runs together: it waits until it has
    them all, and is done again when it lost one meanwhile. In a fan-out each item has its own."""
    lane: Lane | None = None
    """Where it executes: in the triggerer (`async`) or a task process (`worker`); default: as the skill says,
    else `worker` for skills and operators, `async` for agents and notices."""


class SharingStep(WorkStep):
    """A step whose work can know of the shared context."""

    context: Shares | None = None
    """What it reads and writes of the shared context; default: nothing."""


if TYPE_CHECKING:
    Target = YamlModel
else:
    Target = union_of({name: channel.model for name, channel in CHANNELS.items()})
"""Where a notice goes."""


class Way(YamlModel):
    """One way out of a branch."""

    when: Flag | None = None
    """The way is taken when this is true and no way above it was; only the last way may leave it out."""
    to: Words
    """The steps that follow on this way; an empty list follows none."""


class Needs(YamlModel):
    """What an agent must be good at to be given the step."""

    skills: Annotated[list[Name], Field(min_length=1)]
    """All of these must be among the agent's `skills`."""
    department: Name | None = None
    """The department it must belong to."""
