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
        if before.aligned_to is None or before.aligned_to != step.aligned_to:
            continue
        result = state.step(before.id)
        for index in range(result.length or 0):
            if (reason := _answer(result.items.get(index))) is not None:
                found[index] = reason
    return found


def _answer(question: WorkState | None) -> str | None:
    """Why an item may not go ahead; None when it was approved, or its own `when` asks nobody about it."""
    if question is not None and question.status == "skipped" and question.reason == WHEN:
        return None
    if question is None or question.status != "succeeded":
        return UPSTREAM_FAILED
    return None if _approves(question.output) else REJECTED


def unfinished(definition: Definition, step: ResolvedStep, state: RunState) -> list[int | None]:
    """The positions of a step that have no outcome which counts; None stands for the step as a whole.

    None counts of what never began, is still at work or was given up, whatever Airflow says of its task. Nor does one
    of an earlier execution, where a later one has begun the work anew or was to do it again.
    """
    result = state.step(step.id)
    # Where the log cannot tell what is done again, the list that was laid out anew says so of its items.
    since = 0 if _stands(step, state) else result.laid_out if state.stands is None else state.epoch
    if _ended_as_a_whole(result):
        return [] if _counts(result.whole, since) else [None]
    if not result.is_fan_out or result.laid_out < since:
        return [None]
    found = _redone(definition, step, state.redriven or state.redid)
    again = set(result.indices) if found is None else found
    return [
        index
        for index in result.indices
        if not _counts(result.items.get(index, _NOTHING), since if index in again else 0)
    ]


_NOTHING = WorkState()


def _ended_as_a_whole(result: StepState) -> bool:
    """True of a step outside a fan-out, and of a fan-out that failed or was skipped before its items."""
    outcome = result.whole.outcome
    return result.whole.ended and outcome is not None and outcome >= result.laid_out


def _stands(step: ResolvedStep, state: RunState) -> bool:
    return not state.epoch or (state.stands is not None and step.id in state.stands)


def _counts(work: WorkState, since: int) -> bool:
    """True of an outcome of the latest execution of the work, which is none before `since`."""
    if work.outcome is None or work.status == "undone" or not work.ended:
        return False
    return work.outcome >= max(since, work.epoch)


def redriven(definition: Definition, step: ResolvedStep, state: RunState) -> set[int | None] | None:
    """The positions that the redrive under way has done again; None when everything is.

    The redriven items are done again in their own step and in every step after it that fans out over the same list.
    """
    return _redone(definition, step, state.redriven)


def _redone(
    definition: Definition, step: ResolvedStep, pieces: Mapping[str, list[int | None]]
) -> set[int | None] | None:
    before = {step.id, *(other.id for other in ancestors(definition, step))}
    causes = before & pieces.keys()
    if not causes or not all(_same_list(definition.step(name), step) for name in causes):
        return None
    return {index for name in causes for index in pieces[name]}


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
    if _failed(result) or unfinished(definition, before, state):
        return UPSTREAM_FAILED
    reason = result.whole.reason
    if result.status == "skipped" and reason in (UPSTREAM_FAILED, REJECTED, NOT_TAKEN, CANCELLED, UNWINDING):
        return None if reason == REJECTED and _asks_for_approval(definition, step) else reason
    if before.kind == "human" and before.each is None and result.status != "skipped" and not _approves(result.output):
        return None if before.id in step.when_references else REJECTED
    if before.kind == "branch" and result.status == "succeeded" and step.id not in (result.output or []):
        return NOT_TAKEN
    return None


def _failed(result: StepState) -> bool:
    """A fan-out counts as failed only when no item of it came through."""
    if not result.is_fan_out or _ended_as_a_whole(result):
        return result.status == "failed"
    counts = result.counts
    return bool(counts["failed"]) and not counts["succeeded"]


def _asks_for_approval(definition: Definition, step: ResolvedStep) -> bool:
    """True when the step's own `when` names an approval, and so decides about a rejection itself."""
    return any(before.kind == "human" and before.id in step.when_references for before in ancestors(definition, step))


def _approves(output: object) -> bool:
    return isinstance(output, dict) and output.get("approved") is True
