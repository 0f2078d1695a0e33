"""Fan-outs: which positions of a list have work, and which of them one task instance takes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from weakref import WeakValueDictionary

from muster.bounded_cache import BoundedCache
from muster.errors import PermanentError
from muster.events import keys
from muster.events.keys import work_key
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.runs import RunBegun
from muster.events.payloads.work import StepCompleted, StepExpanded, StepSkipped
from muster.events.sealing import Seals
from muster.events.state import RunState
from muster.events.work import WorkState
from muster.execution import flow
from muster.execution.references import StepNotInScope, WorkRef
from muster.execution.rerun_scope import is_done_alone
from muster.execution.services import Services
from muster.execution.team_layout import NO_TEAM, LaidOut, team_of
from muster.execution.variables import Variables, variables_for
from muster.execution.view import RunView, load, load_all
from muster.execution.work_item import failed_as_a_whole
from muster.language.conditions import is_true
from muster.language.expression_errors import error_of
from muster.language.expressions import evaluate_seen, references
from muster.language.forgotten import Forgotten, NothingToDecideBy
from muster.language.resolved_step import ResolvedStep

# Few, because each holds the events of its run.
_fan_outs: BoundedCache[tuple[str, str, str, int], tuple[Seals | None, FanOut]] = BoundedCache(8)
_loading: WeakValueDictionary[tuple[Hashable, ...], asyncio.Lock] = WeakValueDictionary()
ENDINGS = frozenset({EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_SET_ASIDE})
"""How an item can end."""


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

    @cached_property
    def items(self) -> Sequence[object]:
        """The list.

        Raises:
            PermanentError: `each` gives none.
        """
        return items_of(self.step, self.variables)

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
            expanded = await _lay_out(services, view, step, ref)
        except PermanentError as error:
            await services.log.aappend(ref.run, [failed_as_a_whole(ref, error), *_events(_not_listed(view, step, ref))])
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
        await _completed(services, ref, counts, once=not by_hand)


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
    view = view.for_items(step.id)  # Kept in memory: without the events of other steps, most of its run's.
    variables = Variables(partial(view.variables, step, services))
    return FanOut(view, step, said.indices, variables, said.epoch, left, said.members or ())


def last_endings(view: RunView, step: ResolvedStep) -> dict[int | None, Event]:
    """How each work item of a step ended last, by position; None stands for the step as a whole."""
    return {event.index: event for event in view.events if event.type in ENDINGS and event.step == step.id}


async def _ended_anew(services: Services, fan_out: FanOut, ref: WorkRef) -> bool:
    """True when every item that this epoch does again has ended in it; endings of earlier epochs do not count."""
    step, kept = fan_out.step.id, fan_out.kept
    ends = [keys.ended(work_key(step, index), ref.epoch) for index in fan_out.indices if index not in kept]
    return await services.queries.acount_keys(ref.run, ends) == len(ends)


def _kept(view: RunView, step: ResolvedStep, expanded: Event, ref: WorkRef) -> dict[int | None, Event]:
    """The endings of the items that the current redrive leaves as they are; empty when everything is done again."""
    said = StepExpanded.of(expanded)
    again = _again(view, step) if said.again is None else said.again
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


async def _lay_out(services: Services, view: RunView, step: ResolvedStep, ref: WorkRef) -> Event:
    skip = flow.decide(view.definition, step, view.state)
    variables = await asyncio.to_thread(view.variables, step, services)
    if skip is None and not by_item(step) and not holds(step, variables):
        skip = flow.Skip(flow.WHEN)
    before, again = view.state.step(step.id), _again(view, step)
    stays = _stays(view, step, again)
    # Done alone: Airflow's task instances are those of the earlier layout, so the positions have to stay the same.
    alone = is_done_alone(view.definition, view.state.redriven, view.state.again, step.id)
    if skip is not None and not stays and not alone:
        notes = [_skipped(step, None, skip.reason, ref), *_not_listed(view, step, ref)]
        return await _write(services, view, step, ref, 0, [], notes, stays)
    indices: list[int] = []
    team = NO_TEAM
    if skip is not None:
        length = before.length or 0
        known = {*before.items, *(again or ())}
        notes = [_skipped(step, index, skip.reason, ref) for index in sorted(known - stays) if index < length]
    else:
        items = await asyncio.to_thread(items_of, step, variables)
        length = len(items)
        if alone and any(index >= length for index in before.indices if index not in stays):
            raise PermanentError(
                f"The list of {step.id} is shorter now.",
                remedy=f"Do all of it: `muster restart {ref.run} --from {step.id}`.",
            )
        indices, notes = _positions(view, step, items, variables, ref, stays, again)
        team = team_of(view.definition, step, items, variables)
        await _ensure_not_replaced(services, view, step, indices)
    notes += _not_listed(view, step, ref, but={*indices, *stays, *(note.index for note in notes)})
    indices = before.indices if alone else sorted({*indices, *stays.intersection(before.indices)})
    length = before.length or 0 if alone else length
    return await _write(services, view, step, ref, length, indices, notes, stays, skip.reason if skip else None, team)


def _stays(view: RunView, step: ResolvedStep, again: Collection[int] | None) -> set[int]:
    """The positions that the current redrive leaves as they are: no `when` or approval is asked about them again."""
    items = view.state.step(step.id).items
    if again is None:
        return set()
    return {index for index, item in items.items() if index not in again and item.has_outcome}


def _again(view: RunView, step: ResolvedStep) -> Collection[int] | None:
    """The positions that the redrive under way does again; None where that is all of them."""
    # Orders of earlier releases do not say which positions they do again: then it is worked out from what they name.
    orders = view.state.again
    again = orders.get(step.id) if orders else flow.redriven(view.definition, step, view.state.redriven)
    return again if again is None else {*again, *_outdated(view, step)}


def _outdated(view: RunView, step: ResolvedStep) -> Iterator[int]:
    """The positions at which an earlier step left the item out when this one did it and does not now, or vice versa."""
    # Not in the order: when it was given, an earlier execution had left the item out with the rest of its list.
    if is_done_alone(view.definition, view.state.redriven, view.state.again, step.id):
        return  # Nothing before it is done.
    result = view.state.step(step.id)
    before = [earlier.id for earlier in flow.ancestors(view.definition, step) if flow.same_list(earlier, step)]
    begun = [RunBegun.of(event) for event in view.events if event.type == EventType.RUN_BEGUN]
    ordered = {0, *(earlier.epoch for earlier in begun if earlier.preserved_steps is not None)}
    for index in sorted({index for name in before for index in view.state.step(name).items}):
        own = result.items.get(index)
        if own is None or own.decision != "discarded":
            then = view.as_of(result.laid_out if own is None else max(own.begun or 0, own.outcome or 0))
            changed = [name for name in before if _is_there(then, name, index) != _is_there(view.state, name, index)]
            # A person who cleared an item in Airflow by hand ordered nothing that comes after it.
            if any(view.state.step(name).work(index).epoch in ordered for name in changed):
                yield index


def _is_there(state: RunState, step: str, index: int) -> bool:
    """True when an item was not left out, whatever its outcome."""
    item = state.step(step).items.get(index)
    return item is not None and item.status not in ("pending", "skipped")


def _positions(
    view: RunView,
    step: ResolvedStep,
    items: Sequence[object],
    variables: Mapping[str, object],
    ref: WorkRef,
    stays: Collection[int],
    again: Collection[int] | None,
) -> tuple[list[int], list[StepSkipped]]:
    """The positions with work, and skip events with the reasons of the others; neither for positions that stay."""
    kept_back = flow.kept_back(view.definition, step, view.state, len(items))
    again = again if view.state.again else None
    indices: list[int] = []
    notes: list[StepSkipped] = []
    for index, item in enumerate(items):
        if item is None or index in stays or (again is not None and index not in again):
            continue
        if index in kept_back:
            notes.append(_skipped(step, index, kept_back[index], ref))
        elif by_item(step) and not holds(step, {**variables, "item": item, "index": index}):
            notes.append(_skipped(step, index, flow.WHEN, ref))
        else:
            indices.append(index)
    return indices, notes


def _not_listed(
    view: RunView, step: ResolvedStep, ref: WorkRef, but: Collection[int | None] = ()
) -> Iterator[StepSkipped]:
    """Skip events for items of an earlier layout that have no work any more: their old outputs no longer count."""
    for index, item in view.state.step(step.id).items.items():
        if index not in but and item.status != "pending":
            yield _skipped(step, index, flow.NOT_LISTED, ref)


def items_of(step: ResolvedStep, variables: Mapping[str, object]) -> Sequence[object]:
    """The list a step fans out over.

    Raises:
        PermanentError: `each` gives no list, or no plan.
    """
    where = f"step {step.id}, each"
    items = evaluate_seen(step.each, variables, where=where)
    if isinstance(items, Forgotten):
        raise error_of(NothingToDecideBy(), str(step.each), where)
    if items is None:
        return []
    return step.listed(items)


async def _ensure_not_replaced(services: Services, view: RunView, step: ResolvedStep, indices: Collection[int]) -> None:
    """Refuse to do another item at a position whose earlier work stands: that work could not be undone any more.

    Items are compared in the first list that the step's own comes from, because a model writes other texts each time.

    Raises:
        PermanentError: the list holds another item at such a position now; the step fails.
    """
    items = view.state.step(step.id).items
    begun = {index: items[index].begun or 0 for index in indices if index in items and _stands(step, items[index])}
    if not begun:
        return
    first = view.definition.step(step.aligned_to or step.id)
    whole = await load_all(services, view.id)
    now = items_of(first, whole.variables(first, services))
    for epoch in set(begun.values()):
        before = items_of(first, variables_for(whole.definition, first.references, whole.as_of(epoch), services))
        for index in sorted(index for index, of in begun.items() if of == epoch):
            if before[index : index + 1] != now[index : index + 1]:
                raise PermanentError(
                    f"{work_key(step.id, index)} was done for another item of its list, and that stands.",
                    remedy="Start a new run for the new list; once this one has been undone, a restart does it too.",
                )


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
    await _ensure_not_replaced(services, fan_out.view, fan_out.step, fan_out.slot(ref.slot))


def _stands(step: ResolvedStep, work: WorkState) -> bool:
    """True when the work was begun and has a compensation, or can never be undone."""
    return work.begun is not None and (step.compensate is not None or (step.irreversible and work.status != "failed"))


def holds(step: ResolvedStep, variables: Mapping[str, object]) -> bool:
    """True when the step has no `when`, or its `when` is true."""
    return step.when is None or is_true(step.when, variables, where=f"step {step.id}, when")


def by_item(step: ResolvedStep) -> bool:
    """True when `when` is a question about each item and not about the step."""
    return isinstance(step.when, str) and bool(references(step.when).variables & {"item", "index"})


def _events(notes: Iterable[StepSkipped]) -> list[NewEvent]:
    return [note.event(key=keys.ended(work_key(note.step, note.index), note.epoch)) for note in notes]


def _skipped(step: ResolvedStep, index: int | None, reason: str, ref: WorkRef) -> StepSkipped:
    return StepSkipped(step=step.id, index=index, reason=reason, epoch=ref.epoch)


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


async def _completed(services: Services, ref: WorkRef, counts: Mapping[str, int], *, once: bool = True) -> None:
    said = StepCompleted(step=ref.step, counts=dict(counts), epoch=ref.epoch)
    await services.log.aappend(ref.run, [said.event(key=keys.completed(ref.step, ref.epoch) if once else None)])


async def _write(
    services: Services,
    view: RunView,
    step: ResolvedStep,
    ref: WorkRef,
    length: int,
    indices: list[int],
    notes: list[StepSkipped],
    stays: Collection[int],
    held: str | None = None,
    team: LaidOut = NO_TEAM,
) -> Event:
    again = [index for index in indices if index not in stays] if view.state.redriven else None
    said = StepExpanded(step=step.id, length=length, indices=indices, epoch=ref.epoch, again=again, held=held, **team)
    # The first layout under this key counts, and a second process goes on with its positions. The skips are in the same
    # append: written later, a crash in between would leave items that have neither work nor an outcome.
    stored = await services.log.aappend(ref.run, [said.event(key=keys.expanded(step.id, ref.epoch)), *_events(notes)])
    # A list without work has no item whose ending would complete it.
    if not indices and all(note.index is not None for note in notes):
        await _completed(services, ref, {"skipped": len(notes)} if notes else {})
    return stored[0]
