"""What is said about a work item: how it is performed, ends and is undone."""

from __future__ import annotations

from collections.abc import Mapping

from muster.events.model import EventType
from muster.events.payloads.base import Json, OfStep, OfWork, Payload, RecordedError, plain, sealed


class OfCompensation(OfWork):
    """What every event about undoing a work item says."""

    work_epoch: int | None = plain(default=None)
    """The execution whose work is undone."""


class CompensationStarted(OfCompensation, type=EventType.COMPENSATION_STARTED):
    """Undoing a work item has begun."""


class OfRetry(OfWork):
    """An attempt has failed, and another one follows."""

    attempt: int = plain()
    error: RecordedError
    class_: str = plain()
    """What kind of failure it is."""
    delay: float = plain()
    """Seconds until the next attempt."""
    mark: str | None = plain(default=None)
    """Tells whose retry this is, when several attempts take one from the run's budget at the same time."""


class CompensationRetried(OfRetry, type=EventType.COMPENSATION_RETRIED):
    """An attempt at undoing a work item has failed, and another one follows."""


class CompensationSucceeded(OfCompensation, type=EventType.COMPENSATION_SUCCEEDED):
    """A work item is undone."""

    output: Json
    by_hand: bool = plain(default=False)
    """True when a person did it."""


class CompensationFailed(OfCompensation, type=EventType.COMPENSATION_FAILED):
    """Undoing a work item has failed, and no attempt is left."""

    error: RecordedError


class StepExpanded(OfStep, type=EventType.STEP_EXPANDED):
    """The list of a fan-out was laid out."""

    length: int = plain()
    indices: list[int] = plain()
    """The positions that have work."""
    again: list[int] | None = plain(default=None)
    """The positions among them that a redrive does again."""
    held: str | None = plain(default=None)
    """Why nothing is done except what a redrive leaves as it is; a reason as in `step.skipped`."""
    members: list[str] | None = plain(default=None)
    """The agents of a team, one for each task instance."""
    names: list[str | None] | None = sealed(default=None)
    """The names of the items, in a step whose output is a mapping; None at a position that has nothing any more."""
    added: list[Json | None] | None = sealed(default=None)
    """The end of the list, where items were added to it in earlier executions, and stay."""


class StepExtended(OfStep, type=EventType.STEP_EXTENDED):
    """An item of a fan-out has ended and added others to the list."""

    by: int = plain()
    """The position of the item whose ending, in the same append, has added them."""
    first: int = plain()
    """The position of the first that was added. Between it and the list as it was nothing is any more: positions that
    earlier executions have given to others are not given again."""
    length: int = plain()
    """The length of the list with them."""
    items: list[Json]
    names: list[str]


class TaskAssigned(OfWork, type=EventType.TASK_ASSIGNED):
    """A member of a team has taken a task."""

    member: int = plain()
    """Its task instance."""
    agent: str = plain()
    mark: str = plain()
    """Tells apart two processes that take the task at the same time."""
    why: str = plain()
    """Why this member, in words that name agents and skills only."""


class StepStarted(OfWork, type=EventType.STEP_STARTED):
    """Work has begun."""

    kind: str = plain()
    lane: str = plain()
    attempt: int = plain()
    """Airflow's number of the try."""
    begins: str = plain()
    """Tells apart two processes that begin the work at the same time."""
    ahead: bool = plain(default=False)
    """True when a triggerer began it before Airflow had come to its task."""


class ChildRequested(OfWork, type=EventType.CHILD_REQUESTED):
    """The child run that a step asks for is about to be started."""

    child: str = plain()
    """The child run's id."""
    automation: str = plain()
    proof: str | None = plain(default=None)
    """The digest of what a run must show to be taken for the child; None in events of earlier releases."""


class StepRetried(OfRetry, type=EventType.STEP_RETRIED):
    """An attempt at a work item has failed, and another one follows."""


class StepFellBack(OfWork, type=EventType.STEP_FELL_BACK):
    """No attempt is left, and the step's fallback takes over."""

    error: RecordedError
    execution: int | None = plain(default=None)
    """Version of the `step.started` of the process that writes this. The event does not count if the work has begun
    once more since then. None: it always counts.
    """


class StepSucceeded(OfWork, type=EventType.STEP_SUCCEEDED):
    """A work item has succeeded."""

    output: Json
    output_type: Json = plain()
    """How to hydrate the output."""
    produced_by: str | None = plain()
    fallback: bool = plain()
    """True when the fallback did the work."""


class StepFailed(OfWork, type=EventType.STEP_FAILED):
    """A work item has failed for good."""

    error: RecordedError


class StepSkipped(OfWork, type=EventType.STEP_SKIPPED):
    """A work item is not done."""

    reason: str
    """One of Muster's reasons (`muster.events.structure.SKIPPED`), or the words of an operator."""


class StepSetAside(OfWork, type=EventType.STEP_SET_ASIDE):
    """An item was set aside, and the others go on."""

    findings: list[Json]
    error: RecordedError


class StepStopped(OfWork, type=EventType.STEP_STOPPED):
    """The run closes, and a work item that has begun has no outcome."""


class StepCompleted(OfStep, type=EventType.STEP_COMPLETED):
    """Every item of a fan-out has ended."""

    counts: Mapping[str, int] = plain()


class OfCall(Payload):
    """What every event about a call by an agent says."""

    step: str = plain()
    index: int | None = plain()
    agent: str = plain()


class ModelCalled(OfCall, type=EventType.MODEL_CALLED):
    """A model has answered."""

    tier: str = plain()
    model: str = plain()
    request: str = plain()
    """A hash of what it was asked."""
    prompt: Json
    """Kind and text of what is asked newly."""
    response: Json
    usage: Mapping[str, int] = plain()
    """Tokens, by what they were used for."""
    cost: str | None = plain()
    """USD; None when the price is not known."""
    failed: list[Json]
    """The tiers that were asked before, each with its error."""


class ToolCalled(OfCall, type=EventType.TOOL_CALLED):
    """A tool has answered an agent, or failed."""

    tool: str = plain()
    arguments: Json
    result: Json = sealed(default=None)
    error: RecordedError | None = sealed(default=None)


class ContextShown(OfCall, type=EventType.CONTEXT_SHOWN):
    """An agent was shown what stands in the shared context, before it was asked."""

    shown: list[Json]
    """Each entry with its key, version, writer and value, the most relevant first."""
    versions: Mapping[str, int] = plain()
    """By key, the versions that it was shown."""
    left_out: list[Json] = plain()
    """What there was no room for: key, version, about how many tokens, and why."""
    tokens: int = plain()
    """About how many tokens it was shown."""
    room: int = plain()
    """How many there was room for."""
