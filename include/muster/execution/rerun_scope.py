"""What an execution of a run does again and what it leaves as it was, told from the orders in the run's log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from muster.events.lifecycle import Execution
from muster.events.model import Event
from muster.events.payloads.base import payload_of
from muster.events.payloads.runs import DeadLetterRedriven, RunRestarted
from muster.events.state import RunState
from muster.events.work import StepState
from muster.execution.flow import ancestors, not_begun, redriven, same_list, skipped_for_another
from muster.language.definition import Definition
from muster.language.kinds.human import ResolvedHumanStep


def preserved_steps_of(definition: Definition, execution: Execution) -> frozenset[str] | None:
    """The steps that an execution leaves as they were; None when tasks were cleared in Airflow by hand.

    The log cannot tell which tasks a person cleared.
    """
    if execution.preserved_steps is not None:
        return execution.preserved_steps
    if not execution.orders:
        return None if execution.epoch else frozenset()
    again = {step for order in execution.orders for step in done_again(definition, order)}
    return frozenset(step.id for step in definition.steps if step.id not in again)


def done_again(definition: Definition, order: Event) -> set[str]:
    """The steps that an order has done again, all of them or some of their items."""
    match payload_of(order):
        case RunRestarted(again=again) | DeadLetterRedriven(again=again) if again is not None:
            return set(again)
        # Orders of earlier releases, which do not say what they do again: it follows from the definition.
        case RunRestarted() as said:
            return set(steps_from(definition, said.begins))
        case DeadLetterRedriven(work_items=work_items):
            return {*work_items, *steps_after(definition, work_items)}
    return set()


def redriven_with(
    definition: Definition, state: RunState, work_items: Mapping[str, Collection[int | None]]
) -> dict[str, list[int] | None]:
    """The work that a redrive of these work items does again, by step: positions of its list, or None for all of it.

    It does the named items again, and the same items in the later steps. In these steps it also does the items without
    an outcome that counts and the items skipped because of an earlier step. With a failed item it does those that did
    not begin because of the failure. An item that a person has discarded is left as it is, unless it is named.
    """
    positions: dict[str, list[int] | None] = {}
    after = steps_after(definition, work_items)
    for step in definition.steps:
        if step.id not in work_items and step.id not in after:
            continue
        result, named = state.step(step.id), redriven(definition, step, work_items)
        if named is None or result.owed is None or result.ended_as_a_whole or not result.is_fan_out:
            positions[step.id] = None
            continue
        # Earlier steps of the same list count too: an earlier redrive may have stopped there, and the item that it did
        # not come to would be missing here.
        for other in (step, *ancestors(definition, step)):
            if same_list(other, step) and (other.id in work_items or other.id in after):
                before = state.step(other.id)
                named |= _without_outcome(before)
                ends = {before.work(index).status for index in work_items.get(other.id, ())}
                if "failed" in ends:
                    named |= not_begun(before)
                # Tasks of a team wait for one another, as steps do.
                if other.id in after or (other.pulls and ends & {"failed", "set_aside"}):
                    named |= {index for index in _skipped(before) if not _is_its_own(result, index)}
        named -= {index for index in _discarded(result) if index not in work_items.get(step.id, ())}
        positions[step.id] = sorted(named)
    return positions


def _without_outcome(result: StepState) -> set[int]:
    """The positions that an order was to do, or that are unfinished; empty when the whole list is owed."""
    if result.owed is None:
        return set()
    return {*result.owed, *result.unfinished}


def _skipped(result: StepState) -> set[int]:
    """The positions that were skipped because of an earlier step."""
    return {index for index, item in result.items.items() if skipped_for_another(item, result)}


def _is_its_own(result: StepState, index: int) -> bool:
    """True when an item has an outcome of its own, not one that follows from an earlier step."""
    item = result.items.get(index)
    return item is not None and item.has_outcome and not skipped_for_another(item, result)


def _discarded(result: StepState) -> set[int]:
    return {index for index, item in result.items.items() if item.decision == "discarded"}


def is_done_alone(
    definition: Definition,
    work_items: Mapping[str, Collection[int | None]],
    again: Mapping[str, Collection[int] | None],
    step: str,
) -> bool:
    """True when a redrive does just the named items of a step, so that the step is not laid out again."""
    named = work_items.get(step)
    before = {other.id for other in ancestors(definition, definition.step(step))}
    if named is None or None in named or before.intersection(work_items):
        return False
    # An order of an earlier release has no `again`: it does just the items that it names.
    return not again or set(again[step] or ()) == set(named)


def steps_from(definition: Definition, names: Iterable[str]) -> tuple[str, ...]:
    """The steps that a restart from these steps does again, in the order of the definition.

    It includes earlier approvals that are to be asked again (`on_restart: ask`), and all steps after those.
    """
    begins = {redone for name in names for redone in (name, *_asked_again(definition, name))}
    chosen = {*begins, *steps_after(definition, begins)}
    return tuple(redone.id for redone in definition.steps if redone.id in chosen)


def steps_after(definition: Definition, names: Collection[str]) -> list[str]:
    """Every step after one of these, in order."""
    return [step.id for step in definition.steps if any(before.id in names for before in ancestors(definition, step))]


def _asked_again(definition: Definition, step: str) -> list[str]:
    """The approvals before a step that a restart from it asks again."""
    before = ancestors(definition, definition.step(step))
    return [
        approval.id
        for approval in before
        if isinstance(approval, ResolvedHumanStep) and approval.human.on_restart == "ask"
    ]
