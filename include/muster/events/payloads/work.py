"""What is said about a work item: how it is performed, ends and is undone."""

from __future__ import annotations

from collections.abc import Mapping

from muster.events.model import EventType
from muster.events.payloads.base import Json, OfStep, OfWork, Payload, RecordedError, plain, sealed


class OfCompensation(OfWork):
    """What is said about undoing a work item."""

    work_epoch: int | None = plain(default=None)
    """The execution whose work is undone."""


class CompensationStarted(OfCompensation, type=EventType.COMPENSATION_STARTED):
    """Undoing a work item begins."""


class OfRetry(OfWork):
    """An attempt has failed, and another follows."""

    attempt: int = plain()
    error: RecordedError
    class_: str = plain()
    """What kind of failure it is."""
    delay: float = plain()
    """Seconds until the next attempt."""
    mark: str | None = plain(default=None)
    """What tells who of several has taken a retry of the run's budget."""


class CompensationRetried(OfRetry, type=EventType.COMPENSATION_RETRIED):
    """So has one at undoing a work item."""


class CompensationSucceeded(OfCompensation, type=EventType.COMPENSATION_SUCCEEDED):
    """A work item is undone."""

    output: Json
    by_hand: bool = plain(default=False)
    """True when a person did it."""


class CompensationFailed(OfCompensation, type=EventType.COMPENSATION_FAILED):
    """It is not, and no attempt is left."""

    error: RecordedError


class StepExpanded(OfStep, type=EventType.STEP_EXPANDED):
    """The list of a fan-out was laid out."""

    length: int = plain()
    indices: list[int] = plain()
    """The positions that have work."""
    again: list[int] | None = plain(default=None)
    """Those of them that a redrive does again."""
    held: str | None = plain(default=None)
    """Why nothing was done but what a redrive leaves as it is: as `reason` of what is skipped."""


class StepStarted(OfWork, type=EventType.STEP_STARTED):
    """Work has begun."""

    kind: str = plain()
    lane: str = plain()
    attempt: int = plain()
    """Airflow's."""
    begins: str = plain()
    """What tells two processes apart that begin at once."""
    ahead: bool = plain(default=False)
    """True when a triggerer began it before Airflow had come to its task."""


class ChildRequested(OfWork, type=EventType.CHILD_REQUESTED):
    """A run is about to be started."""

    child: str = plain()
    """Its id."""
    automation: str = plain()
    proof: str | None = plain(default=None)
    """The digest of what the run has to show. None of an earlier release."""


class StepRetried(OfRetry, type=EventType.STEP_RETRIED):
    """So has an attempt at a work item."""


class StepFellBack(OfWork, type=EventType.STEP_FELL_BACK):
    """No attempt is left, and the step's fallback takes over."""

    error: RecordedError
    execution: int | None = plain(default=None)
    """Version of the event that the work began with in the process which says so: where the work has begun once more in
    between, it does not count. None where it always does.
    """


class StepSucceeded(OfWork, type=EventType.STEP_SUCCEEDED):
    """A work item came through."""

    output: Json
    output_type: Json = plain()
    """How to hydrate it."""
    produced_by: str | None = plain()
    fallback: bool = plain()
    """True when the fallback answered."""


class StepFailed(OfWork, type=EventType.STEP_FAILED):
    """It failed for good."""

    error: RecordedError


class StepSkipped(OfWork, type=EventType.STEP_SKIPPED):
    """It was not done."""

    reason: str
    """One of Muster's own (`muster.events.structure.SKIPPED`), or an operator's words."""


class StepSetAside(OfWork, type=EventType.STEP_SET_ASIDE):
    """An item is out, and the others go on."""

    findings: list[Json]
    error: RecordedError


class StepStopped(OfWork, type=EventType.STEP_STOPPED):
    """The run closes, and nothing says how this ended."""


class StepCompleted(OfStep, type=EventType.STEP_COMPLETED):
    """Every item of a fan-out has ended."""

    counts: Mapping[str, int] = plain()


class OfCall(Payload):
    """What an agent did in a work item."""

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
    """USD; None where nobody knows."""
    failed: list[Json]
    """The tiers that were asked before, each with its error."""


class ToolCalled(OfCall, type=EventType.TOOL_CALLED):
    """A tool has answered an agent, or failed."""

    tool: str = plain()
    arguments: Json
    result: Json = sealed(default=None)
    error: RecordedError | None = sealed(default=None)
