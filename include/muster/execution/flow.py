"""Whether a step goes ahead: decided from the log alone, the same in every lane."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from muster.events.state import CANCELLED, UNWINDING, RunState
from muster.events.work import StepState, WorkState
from muster.language.definition import Definition
from muster.language.expressions import references
from muster.language.rejections import Rejections
from muster.language.resolved_step import ResolvedStep

UPSTREAM_FAILED = "upstream_failed"
REJECTED = "rejected"
NOT_TAKEN = "not_taken"
WHEN = "when"
NOT_LISTED = "not_listed"
"""The list that was laid out anew has no work for an item of an earlier one."""
NOT_ASKED = "not_asked"
"""An approval asks about the items of the list, and had no question about this one."""
ITEM_FAILED = "item_failed"
"""Another item of the list had failed before it began (`failures`)."""


@dataclass(frozen=True)
class Skip:
    """The step does not go ahead."""

    reason: str


def decide(definition: Definition, step: ResolvedStep, state: RunState) -> Skip | None:
    """What the steps before `step` mean for it; None when it goes ahead.

    A failure, a rejection or a missing outcome before the step stops it. A branch not taken stops the step only if no
    way that leads to it was taken, so that branches can join again.
    """
    if state.cancelled_by is not None:
        return Skip(CANCELLED)
    direct = [definition.step(name) for name in step.after]
    # To a step that cannot be undone every question before it counts, at any distance: no chain of conditions in
    # between may lose a rejection (decision 31).
    counting = [*direct, *_questions(definition, step)] if step.irreversible else direct
    verdicts = [_edge(definition, before.id, step, state) for before in counting]
    for reason in (UPSTREAM_FAILED, CANCELLED, UNWINDING):
        if reason in verdicts:
            return Skip(reason)
    if _rejected(definition, counting, step, state):
        return Skip(REJECTED)
    if direct and all(verdict == NOT_TAKEN for verdict in verdicts[: len(direct)]):
        return Skip(NOT_TAKEN)
    return None


def kept_back(definition: Definition, step: ResolvedStep, state: RunState, length: int) -> Mapping[int, str]:
    """The positions of a fan-out that an approval before it holds back, each with the reason.

    `length` is the length of the step's own list. An item that no question was about counts as not approved.
    """
    reasons: dict[int, str] = {}
    for before in ancestors(definition, step):
        if not before.asks or before.each is None or before.id in step.when_references:
            continue
        result = state.step(before.id)
        if not same_list(before, step) or result.ended_as_a_whole:
            continue  # A question that ended as a whole is judged by `decide`, for the step as a whole.
        for index in range(length):
            question = result.items.get(index)
            reason = _answer(question)
            if question is not None and left_out_with_the_rest(question, result):
                continue  # `decide` judges this list as a whole, too.
            was_skipped = question is not None and question.status == "skipped"
            if was_skipped and reason == REJECTED and _is_told(definition, before, index, state):
                continue  # Another question about the item was rejected, and is judged itself in this loop.
            if reason is not None:
                reasons[index] = reason
    return reasons


def _answer(question: WorkState | None) -> str | None:
    """Why an item may not go ahead; None when it was approved, or its own `when` asks nobody about it."""
    if question is None:
        return NOT_ASKED
    if question.status == "skipped":
        if question.reason in (NOT_LISTED, NOT_ASKED):
            return NOT_ASKED
        return None if question.reason == WHEN else _passed_on(question.reason) or UPSTREAM_FAILED
    if question.status != "succeeded":
        return UPSTREAM_FAILED
    return None if _approves(question.output) else REJECTED


def skipped_for_another(work: WorkState, of: StepState) -> bool:
    """True for an item that was skipped because of an earlier step, not by its own `when` or a person's decision."""
    before = (UPSTREAM_FAILED, NOT_TAKEN, CANCELLED, UNWINDING, NOT_ASKED)
    return (work.status == "skipped" and work.reason in before) or left_out_with_the_rest(work, of)


def not_begun(result: StepState) -> set[int]:
    """The positions of a list that did not begin because another item had failed."""
    return {index for index, item in result.items.items() if item.status == "skipped" and item.reason == ITEM_FAILED}


def left_out_with_the_rest(item: WorkState, of: StepState) -> bool:
    """True for an item that was skipped because the part of its list that was to be done again was held back."""
    return item.status == "skipped" and item.reason is not None and item.reason == of.whole.reason


def unfinished(step: ResolvedStep, state: RunState) -> list[int | None]:
    """The positions of a step without an outcome that counts; None stands for the step as a whole.

    Work that never began, is under way or was given up has no outcome, whatever state Airflow's task has. An outcome of
    an earlier execution does not count if a later one has begun the work again or was ordered to.
    """
    result = state.step(step.id)
    if result.ended_as_a_whole:
        return [] if result.whole.has_outcome else [None]
    if not result.is_fan_out or result.laid_out < result.whole.since:
        return [None]
    return list(result.unfinished)


def redriven(
    definition: Definition, step: ResolvedStep, work_items: Mapping[str, Collection[int | None]]
) -> set[int] | None:
    """The positions that a redrive of these work items, by step, has done again; None when everything is.

    The redriven items are done again in their own step and in every step after it that fans out over the same list.
    """
    before = {step.id, *(other.id for other in ancestors(definition, step))}
    causes = before & work_items.keys()
    if not causes or not all(same_list(definition.step(name), step) for name in causes):
        return None
    again = {index for name in causes for index in work_items[name]}
    # A step that failed as a whole has no items that could stay as they are.
    return None if None in again else {index for index in again if index is not None}


def same_list(one: ResolvedStep, other: ResolvedStep) -> bool:
    """True when a position of one is the same item as that position of the other."""
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
    if _failed(before, result) or unfinished(before, state):
        return UPSTREAM_FAILED
    # If a list stays in part, its reason as a whole says why the rest was left out. The items alone cannot say so,
    # because a single one may have been skipped for a failure of its own.
    if (reason := _passed_on(result.whole.reason)) is not None:
        return reason
    if before.chooses and result.status == "succeeded" and step.id not in (result.output or []):
        return NOT_TAKEN
    return None


def _rejected(definition: Definition, counting: Sequence[ResolvedStep], step: ResolvedStep, state: RunState) -> bool:
    """True when a rejection skips the step, by the rule in `language/rejections.py`.

    A rejection reaches an ordinary step through the steps directly before it, which were skipped for it. To a step that
    cannot be undone every question before it counts as if it came directly before it.
    """
    decided = _decided(definition, step, state)
    rejections = [_told(definition, before, step, state) for before in counting]
    # An empty set: a step was skipped for a rejection that nobody finds any more, because its question was put again by
    # hand since. The skip counts all the same.
    return any(told is not None and (not told or told - decided) for told in rejections)


def _decided(definition: Definition, step: ResolvedStep, state: RunState) -> set[str]:
    """The questions that the step's own `when` names, or the conditions of a branch that chose the step."""
    named = set(step.when_references)
    for before in map(definition.step, step.after):
        if before.chooses and step.id in (state.step(before.id).output or []):
            named |= references(list(before.conditions)).steps
    return named


def _told(definition: Definition, before: ResolvedStep, step: ResolvedStep, state: RunState) -> set[str] | None:
    """The rejected questions because of which `before` was skipped, or `before` itself; None without a rejection."""
    result = state.step(before.id)
    if before.asks and before.each is None and result.status == "succeeded":
        return None if _approves(result.output) else {before.id}
    as_a_whole = result.whole.reason == REJECTED
    by_items = before.each is not None and not same_list(before, step) and (result.status == "skipped" or before.asks)
    if not (by_items and _is_rejected(result)) and not as_a_whole:
        return None
    itself = {before.id} if before.asks and _is_rejected(result) and _has_rejected(result) else set()
    if itself and not as_a_whole:
        return itself
    reach = _reach(definition)
    return itself | {
        question.id
        for question in _questions(definition, before)
        if _has_rejected(state.step(question.id))
        and (
            question.id not in before.when_references
            if same_list(question, before)
            else reach.skips(before.id, question.id)
        )
    }


def _questions(definition: Definition, step: ResolvedStep) -> Iterator[ResolvedStep]:
    return (before for before in ancestors(definition, step) if before.asks)


def _reach(definition: Definition) -> Rejections:
    return Rejections(
        after={step.id: step.after for step in definition.steps},
        named={step.id: step.when_references for step in definition.steps},
        irreversible={step.id for step in definition.steps if step.irreversible},
    )


def _has_rejected(question: StepState) -> bool:
    """True when somebody answered no; a question that was never put counts as unanswered, not as rejected."""
    answers = question.items.values() if question.is_fan_out else [question.whole]
    return any(work.status == "succeeded" and not _approves(work.output) for work in answers)


def _is_rejected(result: StepState) -> bool:
    """True for a fan-out in which an item was rejected, and none was approved or needed no approval."""
    reasons = [_answer(result.items.get(index)) for index in range(result.length or 0)]
    return REJECTED in reasons and None not in reasons


def _passed_on(reason: str | None) -> str | None:
    """The reason a step was skipped, if later steps are skipped for it too; None otherwise."""
    return reason if reason in (UPSTREAM_FAILED, REJECTED, NOT_TAKEN, CANCELLED, UNWINDING) else None


def _failed(step: ResolvedStep, result: StepState) -> bool:
    """A fan-out counts as failed when no item of it came through, and with `failures: undo` when one has failed."""
    if not result.is_fan_out or result.ended_as_a_whole:
        return result.status == "failed"
    counts = result.counts
    return bool(counts["failed"]) and (step.failures == "undo" or not counts["succeeded"])


def _is_told(definition: Definition, question: ResolvedStep, index: int, state: RunState) -> bool:
    """True when an item of a question was not asked about because another question about it was rejected."""
    others = (before for before in _questions(definition, question) if same_list(before, question))
    items = (state.step(other.id).items.get(index) for other in others)
    return any(item is not None and item.status == "succeeded" and not _approves(item.output) for item in items)


def _approves(output: object) -> bool:
    return isinstance(output, dict) and output.get("approved") is True
