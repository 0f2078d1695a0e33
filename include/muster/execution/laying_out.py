"""How a list is laid out: which positions have work in an execution, and what the log is told of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from muster.errors import PermanentError
from muster.events import keys
from muster.events.keys import work_key
from muster.events.model import Event, EventType, NewEvent
from muster.events.payloads.base import Json
from muster.events.payloads.runs import RunBegun
from muster.events.payloads.work import StepCompleted, StepExpanded, StepSkipped
from muster.events.state import RunState
from muster.events.work import WorkState
from muster.execution import flow
from muster.execution.references import WorkRef
from muster.execution.rerun_scope import is_done_alone
from muster.execution.services import Services
from muster.execution.team_layout import NO_TEAM, LaidOut, team_of
from muster.execution.variables import variables_for
from muster.execution.view import RunView, load_all
from muster.language.conditions import is_true
from muster.language.expression_errors import error_of
from muster.language.expressions import evaluate_seen, references
from muster.language.forgotten import Forgotten, NothingToDecideBy
from muster.language.resolved_step import ResolvedStep

ENDINGS = frozenset({EventType.STEP_SUCCEEDED, EventType.STEP_FAILED, EventType.STEP_SKIPPED, EventType.STEP_SET_ASIDE})
"""How an item can end."""


def last_endings(view: RunView, step: ResolvedStep) -> dict[int | None, Event]:
    """How each work item of a step ended last, by position; None stands for the step as a whole."""
    return {event.index: event for event in view.events if event.type in ENDINGS and event.step == step.id}


async def lay_out(services: Services, view: RunView, step: ResolvedStep, ref: WorkRef) -> Event:
    """Write which positions of a step's list have work in this execution; the first layout that is stored counts."""
    skip = flow.decide(view.definition, step, view.state)
    variables = await asyncio.to_thread(view.variables, step, services)
    if skip is None and not by_item(step) and not holds(step, variables):
        skip = flow.Skip(flow.WHEN)
    before, again = view.state.step(step.id), positions_again(view, step)
    stays = _stays(view, step, again)
    # Done alone: Airflow's task instances are those of the earlier layout, so the positions have to stay the same.
    alone = is_done_alone(view.definition, view.state.redriven, view.state.again, step.id)
    if skip is not None and not stays and not alone:
        notes = [_skipped(step, None, skip.reason, ref), *not_listed(view, step, ref)]
        return await _write(services, view, step, ref, 0, [], notes, stays)
    indices: list[int] = []
    added: Sequence[Json | None] = before.added
    team = NO_TEAM
    if skip is not None:
        length = before.length or 0
        known = {*before.items, *(again or ())}
        notes = [_skipped(step, index, skip.reason, ref) for index in sorted(known - stays) if index < length]
    else:
        # What its tasks have added stays where single ones are done again. All of them done anew add to it anew.
        added = before.added if again is not None else []
        items = await asyncio.to_thread(items_of, step, variables, added)
        length = len(items)
        if alone and any(index >= length for index in before.indices if index not in stays):
            raise PermanentError(
                f"The list of {step.id} is shorter now.",
                remedy=f"Do all of it: `muster restart {ref.run} --from {step.id}`.",
            )
        indices, notes = _positions(view, step, items, variables, ref, stays, again)
        team = team_of(view.definition, step, items, variables)
        await ensure_not_replaced(services, view, step, indices)
    notes += not_listed(view, step, ref, but={*indices, *stays, *(note.index for note in notes)})
    indices = before.indices if alone else sorted({*indices, *stays.intersection(before.indices)})
    length = before.length or 0 if alone else length
    return await _write(
        services, view, step, ref, length, indices, notes, stays, skip.reason if skip else None, team, added
    )


def _stays(view: RunView, step: ResolvedStep, again: Collection[int] | None) -> set[int]:
    """The positions that the current redrive leaves as they are: no `when` or approval is asked about them again."""
    items = view.state.step(step.id).items
    if again is None:
        return set()
    return {index for index, item in items.items() if index not in again and item.has_outcome}


def positions_again(view: RunView, step: ResolvedStep) -> Collection[int] | None:
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


def not_listed(
    view: RunView, step: ResolvedStep, ref: WorkRef, but: Collection[int | None] = ()
) -> Iterator[StepSkipped]:
    """Skip events for items of an earlier layout that have no work any more: their old outputs no longer count."""
    for index, item in view.state.step(step.id).items.items():
        if index not in but and item.status != "pending":
            yield _skipped(step, index, flow.NOT_LISTED, ref)


def items_of(
    step: ResolvedStep, variables: Mapping[str, object], added: Sequence[Json | None] = ()
) -> Sequence[object]:
    """The list a step fans out over, and what was added to it.

    Raises:
        PermanentError: `each` gives no list, or no plan.
    """
    where = f"step {step.id}, each"
    items = evaluate_seen(step.each, variables, where=where)
    if isinstance(items, Forgotten):
        raise error_of(NothingToDecideBy(), str(step.each), where)
    if items is None:
        return []
    return [*step.listed(items), *added]


async def ensure_not_replaced(services: Services, view: RunView, step: ResolvedStep, indices: Collection[int]) -> None:
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


def _stands(step: ResolvedStep, work: WorkState) -> bool:
    """True when the work was begun and has a compensation, or can never be undone."""
    return work.begun is not None and (step.compensate is not None or (step.irreversible and work.status != "failed"))


def holds(step: ResolvedStep, variables: Mapping[str, object]) -> bool:
    """True when the step has no `when`, or its `when` is true."""
    return step.when is None or is_true(step.when, variables, where=f"step {step.id}, when")


def by_item(step: ResolvedStep) -> bool:
    """True when `when` is a question about each item and not about the step."""
    return isinstance(step.when, str) and bool(references(step.when).variables & {"item", "index"})


def as_events(notes: Iterable[StepSkipped]) -> list[NewEvent]:
    """As they are appended."""
    return [note.event(key=keys.ended(work_key(note.step, note.index), note.epoch)) for note in notes]


def _skipped(step: ResolvedStep, index: int | None, reason: str, ref: WorkRef) -> StepSkipped:
    return StepSkipped(step=step.id, index=index, reason=reason, epoch=ref.epoch)


async def write_completed(services: Services, ref: WorkRef, counts: Mapping[str, int], *, once: bool = True) -> None:
    """Write that every item of a list has ended."""
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
    added: Sequence[Json | None] = (),
) -> Event:
    again = [index for index in indices if index not in stays] if view.state.redriven else None
    said = StepExpanded(
        step=step.id,
        length=length,
        indices=indices,
        epoch=ref.epoch,
        again=again,
        held=held,
        added=list(added) or None,
        **team,
    )
    # The first layout under this key counts, and a second process goes on with its positions. The skips are in the same
    # append: written later, a crash in between would leave items that have neither work nor an outcome.
    stored = await services.log.aappend(ref.run, [said.event(key=keys.expanded(step.id, ref.epoch)), *as_events(notes)])
    # A list without work has no item whose ending would complete it.
    if not indices and all(note.index is not None for note in notes):
        await write_completed(services, ref, {"skipped": len(notes)} if notes else {})
    return stored[0]
