"""The kinds of step a person writes, one model each."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from muster.language.durations import Duration
from muster.language.fields import Elements, Flag, Pack, People, Shape, Text, Values, Words
from muster.skills.index import Lane
from muster.written import Name, SkillName, Written

TAG = "kind:"
"""Prefix of the tags Pydantic puts into an error's location; a key of YAML cannot be mistaken for one."""


RetryClass = Literal["rate_limit", "overload", "timeout", "auth", "bad_request", "bad_output", "transient"]
"""The kinds of failure that a `retry` can tell apart."""


class ClassRetry(Written):
    """What differs for one kind of failure."""

    times: int | None = Field(default=None, ge=0, le=100)
    """How often this kind is tried again, counted for itself; default: counted with the others."""
    delay: Duration | None = None
    """The longest wait before the second attempt; default: as for the others, for `bad_output` none."""
    backoff: float | None = Field(default=None, ge=1, le=10)
    """What that is multiplied by for each further wait; default: as for the others."""
    max_delay: Duration | None = None
    """The longest wait between two attempts; default: as for the others."""


class Retry(Written):
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


class SkillFallback(Written):
    """A skill that does the work when the step failed for good."""

    skill: SkillName
    """The skill's name."""
    arguments: Values | None = Field(default=None, alias="with")
    """Its arguments; default: those of the step."""


class AgentFallback(Written):
    """An agent that does the work when the step failed for good."""

    agent: Name
    """The agent's id."""
    ask: Text | None = None
    """What it is asked; default: what the step's agent was asked. A skill's fallback must say it."""
    arguments: Values | None = Field(default=None, alias="with")
    """What it is given besides; default: the arguments of the step."""


def tag_of(value: Any, kinds: dict[str, str]) -> str | None:
    """The tag of the one key of `kinds` that a mapping has; None when it has none or several."""
    if isinstance(value, BaseModel):
        return next((kinds[name] for name in kinds if name in type(value).model_fields), None)
    if not isinstance(value, dict):
        return None
    found = [key for key in kinds if key in value]
    return TAG + kinds[found[0]] if len(found) == 1 else None


def _fallback_tag(value: Any) -> str | None:
    return tag_of(value, {"skill": "skill", "agent": "agent"})


Fallback = Annotated[
    Annotated[SkillFallback, Tag("kind:skill")] | Annotated[AgentFallback, Tag("kind:agent")],
    Discriminator(_fallback_tag),
]
"""What takes over when a step failed for good: a skill or an agent."""


class StepBase(Written):
    """What every kind of step has around it."""

    kind: ClassVar[str]
    id: Name
    """The step's name: `steps.<id>` in expressions, and the task's name in Airflow."""
    title: Text | None = None
    """The name people read; default: the id in words."""
    after: Words | None = None
    """The steps this one waits for; default: the step above, or the branch it is a way of."""
    when: Flag | None = None
    """The step is skipped unless this expression is true; in a fan-out it is asked item by item. Text is refused."""
    priority: int | None = Field(default=None, ge=1, le=1000)
    """Airflow's priority weight; higher goes first when slots are short."""
    pool: str | None = Field(default=None, min_length=1, max_length=256)
    """The Airflow pool that limits how many such steps run at once."""


class MappedStep(StepBase):
    """A step that can be repeated for every item of a list."""

    each: Elements | None = None
    """The list to fan out over; in the step's expressions the item is `item` and its position `index`. The
    output is a list of the same length."""


class Compensation(Written):
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
    """How many items of `each` share one task instance: a number, or `all`; default: 1."""
    retry: Retry | None = None
    """How a failed attempt is repeated; default: not at all."""
    timeout: Duration | None = None
    """How long one attempt may take; default: the skill's own limit, else none."""
    compensate: Compensation | None = None
    """What undoes it when the run fails later on, or is cancelled."""
    irreversible: bool = False
    """True for what nothing can undo: on every way that leads to it a person must have approved it."""
    lock: Words | None = None
    """Names of which only one piece of work at a time may hold each, in all runs together: it waits until it has
    them all, and is done again when it lost one meanwhile. In a fan-out each item has its own."""
    lane: Lane | None = None
    """Where it executes: in the triggerer (`async`) or a task process (`worker`); default: as the skill says,
    else `worker` for skills and operators, `async` for agents and notices."""


class SkillStep(WorkStep):
    """Calls a skill: a typed Python function."""

    kind: ClassVar[str] = "skill"
    skill: SkillName
    """The skill's name, `<domain>.<verb_noun>`."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """The skill's arguments by name."""
    fallback: Fallback | None = None
    """What takes over when the step failed for good."""


class Needs(Written):
    """What an agent must be good at to be given the step."""

    skills: Annotated[list[Name], Field(min_length=1)]
    """All of these must be among the agent's `skills`."""
    department: Name | None = None
    """The department it must belong to."""


class AgentStep(WorkStep):
    """Asks an agent."""

    # The discriminator sees to this; editors learn it from here.
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["agent"]}, {"required": ["needs"]}]})

    kind: ClassVar[str] = "agent"
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


class SlackTarget(Written):
    """A message to a Slack channel."""

    slack: str = Field(min_length=2, max_length=200)
    """The channel, `#name`, or a member's id."""
    text: Text | None = None
    """The message. A step must say it; a deadline has a text of its own."""


class EmailTarget(Written):
    """An e-mail."""

    email: Annotated[Words, Field(min_length=1)]
    """The address, or a list of addresses."""
    subject: Text | None = None
    """The subject; default: the automation's title."""
    text: Text | None = None
    """The message. A step must say it; a deadline has a text of its own."""


def _target_tag(value: Any) -> str | None:
    return tag_of(value, {"slack": "slack", "email": "email"})


Target = Annotated[
    Annotated[SlackTarget, Tag("kind:slack")] | Annotated[EmailTarget, Tag("kind:email")],
    Discriminator(_target_tag),
]
"""Where a notice goes."""


class Escalation(Written):
    """Who may answer a question besides, when it has waited for some time. Those before them still may."""

    after: Duration
    """How long after the question."""
    to: People
    """Their user names: a list, or an expression that gives one."""


class Human(Written):
    """A decision by a person. The requester of a run can never approve it."""

    ask: Text
    """The question, in one line."""
    details: Text | None = None
    """What the person needs to know to decide, in Markdown."""
    assignees: People
    """The user names of those who may answer: a list, or an expression that gives one."""
    within: Duration | None = None
    """How long they have; default: as long as it takes."""
    otherwise: Literal["reject"] = "reject"
    """What no answer in time counts as. There is no value that approves."""
    remind: list[Duration] = []
    """How long after the question those it waits for are reminded, once each."""
    escalate: list[Escalation] = []
    """Who may answer besides when nobody has."""
    approvals: int = Field(default=1, ge=1, le=10)
    """How many different people have to approve; 2 is the two-person rule. One rejection is enough to reject."""
    notify: list[Target] = []
    """Where reminders and escalations are sent; default: the Slack channel `#approvals`."""
    on_restart: Literal["ask", "keep"] | None = None
    """What becomes of an approval when the run is restarted from one of its steps. `keep`: it stands, wherever the run
    restarts, while exactly the same is asked of the same people, in a fan-out about the same item. `ask`: a restart
    from any step after it begins with the question. Default: it stands when it lies before that step, and is asked
    again when it lies after it."""


class HumanStep(MappedStep):
    """Waits for a person to approve or reject."""

    kind: ClassVar[str] = "human"
    human: Human
    """The question, who may answer, and how long they have."""


class NotifyStep(WorkStep):
    """Sends notices."""

    kind: ClassVar[str] = "notify"
    notify: Annotated[list[Target], Field(min_length=1)]
    """The notices to send."""


class Way(Written):
    """One way out of a branch."""

    when: Flag | None = None
    """The way is taken when this is true and no way above it was; only the last way may leave it out."""
    to: Words
    """The steps that follow on this way; an empty list follows none."""


class BranchStep(StepBase):
    """Takes the first way whose `when` is true; steps reachable only through the other ways are skipped."""

    kind: ClassVar[str] = "branch"
    branch: Annotated[list[Way], Field(min_length=1)]
    """The ways, from first to last."""


class OperatorStep(WorkStep):
    """Runs an Airflow operator in a task process; what it returns is the step's output.

    Operators that have Airflow skip tasks after them (`LatestOnlyOperator`, `ShortCircuitOperator`, `BranchSQLOperator`
    and every other with a `SkipMixin`) are refused: which steps are skipped is said by `when` and `branch`.
    """

    kind: ClassVar[str] = "operator"
    operator: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$", max_length=300)
    """The operator's import path, of a package that is installed. The setting `allowed_operators` says which may be
    used."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """The operator's arguments by name."""


class RunStep(MappedStep):
    """Starts a run of another automation and waits for its end, without a worker.

    The output is `run` (its id), `automation`, `status`, `counts`, and `outputs`: what its steps gave back, by id,
    personal data left out. When the run does not succeed, the step fails. When this automation's run is undone, what
    the other one did is undone as well, by the compensations of its own steps.
    """

    kind: ClassVar[str] = "run"
    run: Name
    """The automation's name. The run belongs to the version that is current when it begins."""
    arguments: Values = Field(default_factory=dict, alias="with")
    """Its inputs by name."""
    timeout: Duration | None = None
    """How long it may take from being asked for to its end; then it is cancelled and the step fails. Default: as long
    as it takes."""


KIND_KEYS = {
    "skill": "skill",
    "agent": "agent",
    "needs": "agent",
    "human": "human",
    "notify": "notify",
    "branch": "branch",
    "operator": "operator",
    "run": "run",
}
"""The key that makes a step what it is, and the kind it makes it."""

STEP_KINDS: dict[str, type[StepBase]] = {
    step.kind: step for step in (SkillStep, AgentStep, HumanStep, NotifyStep, BranchStep, OperatorStep, RunStep)
}
"""The model of each kind."""


def _step_tag(value: Any) -> str | None:
    return TAG + value.kind if isinstance(value, StepBase) else tag_of(value, KIND_KEYS)


Step = Annotated[
    Annotated[SkillStep, Tag("kind:skill")]
    | Annotated[AgentStep, Tag("kind:agent")]
    | Annotated[HumanStep, Tag("kind:human")]
    | Annotated[NotifyStep, Tag("kind:notify")]
    | Annotated[BranchStep, Tag("kind:branch")]
    | Annotated[OperatorStep, Tag("kind:operator")]
    | Annotated[RunStep, Tag("kind:run")],
    Discriminator(_step_tag),
]
"""One step: exactly one kind."""
