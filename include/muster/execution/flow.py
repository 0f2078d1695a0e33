"""Whether a step goes ahead: decided from the log alone, the same in every lane."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from muster.events.state import CANCELLED, UNWINDING, RunState
from muster.events.work import StepState
from muster.language.definition import Definition, ResolvedStep

UPSTREAM_FAILED = "upstream_failed"
REJECTED = "rejected"
NOT_TAKEN = "not_taken"
WHEN = "when"


@dataclass(frozen=True)
class Skip:
    """The step does not go ahead."""

    reason: str


def decide(definition: Definition, step: ResolvedStep, state: RunState) -> Skip | None:
    """What the steps before `step` mean for it; None when it goes ahead.

    A failure or a rejection before it stops it. A way not taken stops it only when every way
    that leads to it was not taken, so that branches can join again.
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


def rejected_items(definition: Definition, step: ResolvedStep, state: RunState) -> set[int]:
    """Positions of a fan-out whose approval, somewhere before it, was rejected."""
    rejected: set[int] = set()
    for before in ancestors(definition, step):
        if before.kind != "human" or before.each is None or before.id in step.when_references:
            continue
        if before.aligned_to is None or before.aligned_to != step.aligned_to:
            continue
        items = state.step(before.id).items
        rejected.update(index for index, item in items.items() if _rejects(item.output))
    return rejected


def left_over(definition: Definition, step: ResolvedStep, state: RunState) -> bool:
    """True when a step was to be done again and has only the outcome of an earlier execution: whoever was to do it died
    without a word.
    """
    if not state.epoch or state.stands is None or step.id in state.stands:
        return False
    result = state.step(step.id)
    if not result.is_fan_out:
        return result.whole.epoch < state.epoch
    found = redriven(definition, step, state)
    again = result.indices if found is None else found.intersection(result.indices)
    return any(index not in result.items or result.items[index].epoch < state.epoch for index in again)


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
    if _failed(result) or left_over(definition, before, state):
        return UPSTREAM_FAILED
    reason = result.whole.reason
    if result.status == "skipped" and reason in (UPSTREAM_FAILED, REJECTED, NOT_TAKEN, CANCELLED, UNWINDING):
        return None if reason == REJECTED and _asks_for_approval(definition, step) else reason
    if before.kind == "human" and before.each is None and _rejects(result.output):
        return None if before.id in step.when_references else REJECTED
    if before.kind == "branch" and result.status == "succeeded" and step.id not in (result.output or []):
        return NOT_TAKEN
    return None


def _failed(result: StepState) -> bool:
    """A fan-out counts as failed only when no item of it came through."""
    if not result.is_fan_out:
        return result.status in ("failed", "pending", "undone")
    counts = result.counts
    return bool(counts["failed"]) and not counts["succeeded"]


def _asks_for_approval(definition: Definition, step: ResolvedStep) -> bool:
    """True when the step's own `when` names an approval, and so decides about a rejection itself."""
    return any(before.kind == "human" and before.id in step.when_references for before in ancestors(definition, step))


def _rejects(output: object) -> bool:
    return isinstance(output, dict) and output.get("approved") is False
