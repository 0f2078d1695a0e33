"""Fan-outs: which positions of a list have work, and which of them one task instance takes."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from weakref import WeakValueDictionary

from muster.bounded_cache import BoundedCache
from muster.errors import PermanentError
from muster.events import keys
from muster.events.keys import work_key
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.base import Json
from muster.events.payloads.work import StepExpanded
from muster.events.sealing import Seals
from muster.execution.laying_out import (
    as_events,
    ensure_not_replaced,
    items_of,
    last_endings,
    lay_out,
    not_listed,
    positions_again,
    write_completed,
)
from muster.execution.references import StepNotInScope, WorkRef
from muster.execution.services import Services
from muster.execution.variables import Variables
from muster.execution.view import RunView, load, load_all
from muster.execution.work_item import failed_as_a_whole
from muster.language.resolved_step import ResolvedStep

# Few, because each holds the events of its run.
_fan_outs: BoundedCache[tuple[str, str, str, int], tuple[Seals | None, FanOut]] = BoundedCache(8)
_loading: WeakValueDictionary[tuple[Hashable, ...], asyncio.Lock] = WeakValueDictionary()


@dataclass(frozen=True)
class FanOut:
    """A fan-out that has been laid out: never changes, so its items share one in memory."""

    view: RunView
    step: ResolvedStep
    indices: Sequence[int]
    variables: Mapping[str, object]
    """Without `item` and `index`; worked out when the first is asked for."""
    epoch: int
    """The epoch in which it was laid out."""
    kept: Mapping[int, Event] = field(default_factory=dict)
    """How items ended that this execution leaves as they were."""
    members: Sequence[str] = ()
    """The agents of a team, one for each task instance; empty for any other step."""
    added: Sequence[Json | None] = ()
    """What was added to the list since it was laid out first; None at a position that has nothing any more."""

    @cached_property
    def items(self) -> Sequence[object]:
        """The list.

        Raises:
            PermanentError: `each` gives none.
        """
        return items_of(self.step, self.variables, self.added)

    def grown(self, first: int, added: Sequence[Json]) -> FanOut:
        """The fan-out with more items, from this position on."""
        items = [*self.items, *[None] * (first - len(self.items)), *added]
        base = len(self.items) - len(self.added)
        more = replace(self, indices=[*self.indices, *range(first, len(items))], added=items[base:])
        # Worked out already: the list that was laid out first is not evaluated anew for each item that comes to it.
        vars(more)["items"] = items
        return more

    def variables_of(self, index: int) -> Mapping[str, object]:
        """What the expressions of an item may name."""
        return Variables(lambda: {**self.variables, "item": self.items[index], "index": index})

    def slot(self, number: int | None) -> Sequence[int]:
        """The positions that task instance `number` works on; all of them when it is the only one."""
        if number is None:
            return self.indices
        return self.step.of_slot(self.indices, number)

    def slots(self) -> int:
        """How many task instances the work is spread over."""
        if self.step.pulls:
            return len(self.members) if self.indices else 0
        return -(-len(self.indices) // self.step.pack_size)


async def expand(services: Services, ref: WorkRef) -> FanOut:
    """Lay out the fan-out of `ref.step` once, write it down, and return it; a skipped step has no positions.

    Raises:
        StepNotInScope: it was never laid out, and this execution does not do it.
        PermanentError: `each` or `when` cannot be evaluated; the step's failure is in the log.
    """
    view, step = await load(services, ref, for_items=True)
    # Only the events of other steps show which items a redrive of an earlier step has outdated.
    if view.state.redriven:
        view = await load_all(services, ref.run)
        await asyncio.to_thread(lambda: view.state)  # As lists are: on the event loop it would hold up all other work.
    expanded = _recorded(view, step, ref)
    if expanded is None:
        ref.ensure_in_scope()
        try:
            expanded = await lay_out(services, view, step, ref)
        except PermanentError as error:
            await services.log.aappend(
                ref.run, [failed_as_a_whole(ref, error), *as_events(not_listed(view, step, ref))]
            )
            raise
    return _fan_out(services, view, step, ref, expanded)


async def complete(services: Services, fan_out: FanOut, ref: WorkRef) -> None:
    """Write that the fan-out has ended, if its last item has. Call it after the item's ending is written."""
    # Asked after the write: of two items that end at once, at least one sees both endings. A layout of an earlier epoch
    # means that single items were cleared in Airflow by hand. Nobody knows which is the last of them, so each writes
    # `step.completed`, without a key.
    by_hand = fan_out.epoch != ref.epoch
    if ref.is_preserved or (ref.epoch and not by_hand and not await _ended_anew(services, fan_out, ref)):
        return
    if counts := await services.queries.aended_items(ref.run, fan_out.step.id, fan_out.indices):
        await write_completed(services, ref, counts, once=not by_hand)


async def load_fan_out(services: Services, ref: WorkRef) -> FanOut:
    """The laid-out fan-out of `ref.step`, from memory when another item has loaded it already."""
    # Compared with the seals: after `muster forget` the copy in memory would still hold what was opened with the key.
    key, seals = (services.database.dsn, ref.run, ref.step, ref.epoch), await services.log.aseals(ref.run)
    # Many items begin at once. Without the lock each would read the whole run; now one does, and the others wait.
    async with _loading.setdefault((asyncio.get_running_loop(), *key), asyncio.Lock()):
        if (loaded := _fan_outs.get(key)) is None or loaded[0] != seals:
            loaded = _fan_outs[key] = seals, await expand(services, ref)
    return loaded[1]


def _fan_out(services: Services, view: RunView, step: ResolvedStep, ref: WorkRef, expanded: Event) -> FanOut:
    said = StepExpanded.of(expanded)
    kept = last_endings(view, step) if ref.is_preserved else _kept(view, step, expanded, ref)
    # Tasks of a team wait also for those that have no work in this execution.
    among = kept if step.pulls else said.indices
    left = {index: kept[index] for index in among if index is not None and index in kept}
    result, indices, added = view.state.step(step.id), said.indices, said.added or []
    # The state knows also the items that were added since; of a layout that was written just now it knows nothing yet.
    if expanded.version <= view.state.version and result.laid_out == said.epoch:
        indices, added = result.indices, result.added
    view = view.for_items(step.id)  # Kept in memory: without the events of other steps, most of its run's.
    variables = Variables(partial(view.variables, step, services))
    return FanOut(view, step, indices, variables, said.epoch, left, said.members or (), added)


async def _ended_anew(services: Services, fan_out: FanOut, ref: WorkRef) -> bool:
    """True when every item that this epoch does again has ended in it; endings of earlier epochs do not count."""
    step, kept = fan_out.step.id, fan_out.kept
    ends = [keys.ended(work_key(step, index), ref.epoch) for index in fan_out.indices if index not in kept]
    return await services.queries.acount_keys(ref.run, ends) == len(ends)


def _kept(view: RunView, step: ResolvedStep, expanded: Event, ref: WorkRef) -> dict[int | None, Event]:
    """The endings of the items that the current redrive leaves as they are; empty when everything is done again."""
    said = StepExpanded.of(expanded)
    again = positions_again(view, step) if said.again is None else said.again
    if again is None or said.epoch != ref.epoch:
        return {}
    return {index: event for index, event in last_endings(view, step).items() if index not in again}


def _recorded(view: RunView, step: ResolvedStep, ref: WorkRef) -> Event | None:
    """The layout of this execution; for a step that it leaves as it was, the last layout there is."""
    # A person can clear single instances of a mapped task in Airflow: they belong to the last layout, whose positions
    # they stand for. A new layout would give the same map index another item.
    layouts, result = view.events_of(EventType.STEP_EXPANDED, step.id), view.state.step(step.id)
    as_it_is = not view.state.redriven and result.laid_out >= result.whole.since
    any_will_do = ref.is_preserved or (ref.slot is not None and as_it_is)
    key = keys.expanded(step.id, ref.epoch)
    return next((event for event in reversed(layouts) if any_will_do or event.key == key), None)


async def ensure_of_its_list(services: Services, fan_out: FanOut, ref: WorkRef) -> None:
    """Refuse items that a person cleared in Airflow by hand when their list has changed since it was laid out.

    Raises:
        StepNotInScope: the item is not in the list any more; its earlier outcome stays.
        PermanentError: another item is at its position now; the step fails.
    """
    if fan_out.epoch == ref.epoch or ref.is_preserved:
        return
    if any(index >= len(fan_out.items) for index in fan_out.slot(ref.slot)):
        raise StepNotInScope(f"The list of {ref.step} is {len(fan_out.items)} long now; nothing was changed.")
    await ensure_not_replaced(services, fan_out.view, fan_out.step, fan_out.slot(ref.slot))


async def end(
    services: Services, ref: WorkRef, endings: Sequence[NewEvent], *, expected: int | None = None
) -> list[Event]:
    """Write the ending of work done elsewhere, and complete its fan-out if it was the last item; the stored events.

    Raises:
        ConcurrencyError: an event of the step, or of no step, has come after the version `expected`; decide anew.
    """
    stored = await services.log.aappend(ref.run, endings, expected=expected, within=[ref.step])
    if ref.slot is not None:
        await complete(services, await load_fan_out(services, ref), ref)
    return stored
