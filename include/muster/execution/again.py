"""What an execution of a run does again and what it leaves as it was, told from the orders in the run's log."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from muster.events.model import Event, EventType
from muster.events.state import RunState
from muster.events.work import StepState
from muster.execution.flow import ancestors, redriven, same_list, skipped_for_another
from muster.language.definition import Definition

ORDERS = frozenset({EventType.RUN_RESTARTED, EventType.DEAD_LETTER_REDRIVEN, EventType.RUN_RESUMED})
"""A person's word that a run which has ended goes on; Airflow is asked after it is written."""
TELLING = frozenset({EventType.RUN_BEGUN, EventType.RUN_CLOSED, *ORDERS})
"""The events from which the executions of a run are told."""


@dataclass(frozen=True)
class Execution:
    """One execution of a run."""

    epoch: int
    stands: frozenset[str] | None
    """The steps that it leaves as they were; None when tasks were cleared in Airflow by hand and the log cannot tell
    which."""
    since: int
    """Version of the event it comes from; 0 for the first one."""
    begun: bool
    """False while it is ordered and no task of it has begun."""
    keeps: bool = False
    """True when it died and is to go on: what Airflow starts next is still this execution."""


FIRST = Execution(epoch=0, stands=frozenset(), since=0, begun=True)


def last_execution(definition: Definition, events: Iterable[Event]) -> Execution:
    """The last execution of a run, from those of its events that are `TELLING`."""
    execution, begun, orders = FIRST, FIRST, list[Event]()
    for event in events:
        if event.type == EventType.RUN_RESTARTED and event.data.get("keeps"):
            # What a person has ordered and no task has begun is carried out by it.
            execution = _kept(_ordered(definition, execution, orders) if orders else execution, event)
            orders = []
        elif event.type in ORDERS:
            orders.append(event)
        elif event.type == EventType.RUN_CLOSED and event.data.get("reconciled"):
            execution, orders = begun, []
        elif event.type == EventType.RUN_BEGUN:
            execution = begun = _begun(definition, execution, orders, event)
            orders = []
    return _ordered(definition, execution, orders) if orders else execution


def _kept(execution: Execution, event: Event) -> Execution:
    said = event.data.get("stands")
    return replace(execution, keeps=True, stands=execution.stands if said is None else frozenset(said))


def _begun(definition: Definition, before: Execution, orders: Sequence[Event], event: Event) -> Execution:
    epoch, said = int(event.data["epoch"]), event.data.get("stands")
    if epoch <= before.epoch:
        return replace(before, begun=True, keeps=False)
    ordered = _ordered(definition, before, orders).stands if orders else None
    since = orders[0].version if orders else event.version
    return Execution(epoch, ordered if said is None else frozenset(said), since, begun=True)


def _ordered(definition: Definition, before: Execution, orders: Sequence[Event]) -> Execution:
    again = {step for order in orders for step in done_again(definition, order)}
    stands = frozenset(step.id for step in definition.steps if step.id not in again)
    return Execution(before.epoch + 1, stands, orders[0].version, begun=False)


def done_again(definition: Definition, order: Event) -> set[str]:
    """The steps that an order has done again, all of them or some of their items."""
    if (said := order.data.get("again")) is not None:
        return set(said)
    # As it was written before orders said so.
    if order.type == EventType.RUN_RESTARTED:
        return set(steps_from(definition, [order.data["from"], *order.data.get("also", ())]))
    if order.type == EventType.DEAD_LETTER_REDRIVEN:
        return {*order.data["pieces"], *steps_after(definition, order.data["pieces"])}
    return set()


def redriven_with(
    definition: Definition, state: RunState, pieces: Mapping[str, Collection[int | None]]
) -> dict[str, list[int] | None]:
    """What a redrive of these pieces does again, by step: positions of its list, or None for all of it.

    Besides what is named, and the same items after it, that is in these steps what has no outcome that counts, and what
    was skipped for something before it. What a person has discarded is left as it is, unless it is named.
    """
    found: dict[str, list[int] | None] = {}
    after = steps_after(definition, pieces)
    for step in definition.steps:
        if step.id not in pieces and step.id not in after:
            continue
        result, named = state.step(step.id), redriven(definition, step, pieces)
        if named is None or result.owed is None or result.ended_as_a_whole or not result.is_fan_out:
            found[step.id] = None
            continue
        for each in (step, *ancestors(definition, step)):
            if same_list(each, step) and (each.id in pieces or each.id in after):
                before = state.step(each.id)
                named |= _without_outcome(before)
                if each.id in after:
                    named |= {index for index in _skipped(before) if not _is_its_own(result, index)}
        named -= {index for index in _discarded(result) if index not in pieces.get(step.id, ())}
        found[step.id] = sorted(named)
    return found


def _without_outcome(result: StepState) -> set[int]:
    """The positions of a list that were to be done, and have no outcome that counts."""
    if result.owed is None:
        return set()
    return {*result.owed, *result.unfinished}


def _skipped(result: StepState) -> set[int]:
    """The positions that were skipped for something before them."""
    return {index for index, item in result.items.items() if skipped_for_another(item)}


def _is_its_own(result: StepState, index: int) -> bool:
    """True when an item has an outcome that is not for something before it."""
    item = result.items.get(index)
    return item is not None and item.has_outcome and not skipped_for_another(item)


def _discarded(result: StepState) -> set[int]:
    return {index for index, item in result.items.items() if item.decision == "discarded"}


def is_done_alone(
    definition: Definition,
    pieces: Mapping[str, Collection[int | None]],
    again: Mapping[str, Collection[int] | None],
    step: str,
) -> bool:
    """True when a redrive of these pieces does just these items of a step: then it is not laid out anew."""
    named = pieces.get(step)
    before = {each.id for each in ancestors(definition, definition.step(step))}
    if named is None or None in named or before.intersection(pieces):
        return False
    # An order of before says nothing more.
    return not again or set(again[step] or ()) == set(named)


def steps_from(definition: Definition, names: Iterable[str]) -> tuple[str, ...]:
    """What a restart from these steps does again, in order.

    Approvals before them that are to be asked again (`on_restart: ask`) come first, with everything after them.
    """
    begins = {each for name in names for each in (name, *_asked_again(definition, name))}
    chosen = {*begins, *steps_after(definition, begins)}
    return tuple(each.id for each in definition.steps if each.id in chosen)


def steps_after(definition: Definition, names: Collection[str]) -> list[str]:
    """Every step after one of these, in order."""
    return [step.id for step in definition.steps if any(before.id in names for before in ancestors(definition, step))]


def _asked_again(definition: Definition, step: str) -> list[str]:
    """The approvals before a step that a restart from it asks again."""
    before = ancestors(definition, definition.step(step))
    return [each.id for each in before if each.human is not None and each.human.on_restart == "ask"]
