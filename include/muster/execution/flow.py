"""Whether a step goes ahead: decided from the log alone, the same in every lane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from muster.events.state import CANCELLED, UNWINDING, RunState
from muster.events.work import StepState, WorkState
from muster.language.definition import Definition, ResolvedStep

UPSTREAM_FAILED = "upstream_failed"
REJECTED = "rejected"
NOT_TAKEN = "not_taken"
WHEN = "when"
NOT_LISTED = "not_listed"
"""The list that was laid out anew has no work for an item of an earlier one."""


@dataclass(frozen=True)
class Skip:
    """The step does not go ahead."""

    reason: str


def decide(definition: Definition, step: ResolvedStep, state: RunState) -> Skip | None:
    """What the steps before `step` mean for it; None when it goes ahead.

    A failure, a rejection or what has no outcome before it stops it. A way not taken stops it only when every way that
    leads to it was not taken, so that branches can join again.
    """
    if state.cancelled_by is not None:
        return Skip(CANCELLED)
    verdicts = [_edge(definition, before, step, state) for before in step.after]
    for reason in (UPSTREAM_FAILED, CANCELLED, UNWINDING, REJECTED):
        if reason in verdicts:
            return Skip(reason)
    if verdicts and all(verdict == NOT_TAKEN for verdict in verdicts):
        return Skip(NOT_TAKEN)
    return None


def kept_back(definition: Definition, step: ResolvedStep, state: RunState) -> Mapping[int, str]:
    """The positions of a fan-out that an approval, somewhere before it, does not let go ahead, and why."""
    found: dict[int, str] = {}
    for before in ancestors(definition, step):
        if before.kind != "human" or before.each is None or before.id in step.when_references:
            continue
        if not _same_list(before, step):
            continue
        result = state.step(before.id)
        for index, reason in enumerate(_answers(result)):
            if reason == REJECTED and result.items[index].status == "skipped" and _asks_for_approval(definition, step):
                continue
            if reason is not None:
                found[index] = reason
    return found


def _answers(result: StepState) -> list[str | None]:
    """For each position why it may not go ahead; None where it may."""
    return [_answer(result.items.get(index)) for index in range(result.length or 0)]


def _answer(question: WorkState | None) -> str | None:
    """Why an item may not go ahead; None when it was approved, or its own `when` asks nobody about it."""
    if question is not None and question.status == "skipped":
        return None if question.reason == WHEN else _passed_on(question.reason) or UPSTREAM_FAILED
    if question is None or question.status != "succeeded":
        return UPSTREAM_FAILED
    return None if _approves(question.output) else REJECTED


def unfinished(step: ResolvedStep, state: RunState) -> list[int | None]:
    """The positions of a step that have no outcome which counts; None stands for the step as a whole.

    None counts of what never began, is still at work or was given up, whatever Airflow says of its task. Nor does one
    of an earlier execution, where a later one has begun the work anew or was to do it again.
    """
    result = state.step(step.id)
    if result.ended_as_a_whole:
        return [] if result.whole.has_outcome else [None]
    if not result.is_fan_out or result.laid_out < result.whole.since:
        return [None]
    return [index for index in result.indices if index not in result.items or not result.items[index].has_outcome]


def redriven(definition: Definition, step: ResolvedStep, state: RunState) -> set[int | None] | None:
    """The positions that the redrive under way has done again; None when everything is.

    The redriven items are done again in their own step and in every step after it that fans out over the same list.
    """
    before = {step.id, *(other.id for other in ancestors(definition, step))}
    causes = before & state.redriven.keys()
    if not causes or not all(_same_list(definition.step(name), step) for name in causes):
        return None
    return {index for name in causes for index in state.redriven[name]}


def _same_list(one: ResolvedStep, other: ResolvedStep) -> bool:
    return one.aligned_to is not None and one.aligned_to == other.aligned_to


def ancestors(definition: Definition, step: ResolvedStep) -> Iterator[ResolvedStep]:
    """Every step that comes before `step`, nearest first, each once."""
    seen: set[str] = set()
    waiting = list(step.after)
    while waiting:
        name = waiting.pop(0)
        if name not in seen:
            seen.add(name)
            before = definition.step(name)
            yield before
            waiting.extend(before.after)


def _edge(definition: Definition, before_id: str, step: ResolvedStep, state: RunState) -> str | None:
    before, result = definition.step(before_id), state.step(before_id)
    if _failed(result) or unfinished(before, state):
        return UPSTREAM_FAILED
    nothing_approved = before.each is not None and not _same_list(before, step) and _is_rejected(result)
    if result.status == "skipped":
        reason = REJECTED if nothing_approved else _passed_on(result.whole.reason)
        return None if reason == REJECTED and _asks_for_approval(definition, step) else reason
    if before.kind == "human" and before.id not in step.when_references:
        return REJECTED if nothing_approved or (before.each is None and not _approves(result.output)) else None
    if before.kind == "branch" and result.status == "succeeded" and step.id not in (result.output or []):
        return NOT_TAKEN
    return None


def _is_rejected(result: StepState) -> bool:
    """True of a fan-out with an item that was rejected, and none that was approved or needed no approval."""
    reasons = _answers(result)
    return REJECTED in reasons and None not in reasons


def _passed_on(reason: str | None) -> str | None:
    """Why a step was skipped, where that is a reason to skip what comes after it as well."""
    return reason if reason in (UPSTREAM_FAILED, REJECTED, NOT_TAKEN, CANCELLED, UNWINDING) else None


def _failed(result: StepState) -> bool:
    """A fan-out counts as failed only when no item of it came through."""
    if not result.is_fan_out or result.ended_as_a_whole:
        return result.status == "failed"
    counts = result.counts
    return bool(counts["failed"]) and not counts["succeeded"]


def _asks_for_approval(definition: Definition, step: ResolvedStep) -> bool:
    """True when the step's own `when` names an approval, and so decides about a rejection itself."""
    return any(before.kind == "human" and before.id in step.when_references for before in ancestors(definition, step))


def _approves(output: object) -> bool:
    return isinstance(output, dict) and output.get("approved") is True
