"""Orders of a person to do work again: a run from one of its steps on, or its dead letters.

A plan names the work that would be done again, and refuses what cannot be. `order` writes the plan into the log. The
caller then has Airflow perform the plan's tasks, which begins a new epoch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from muster.errors import ConcurrencyError, PermanentError
from muster.events.definitions import DefinitionStore
from muster.events.keys import work_key
from muster.events.lifecycle import RunLifecycle
from muster.events.log import EventLog
from muster.events.model import Event, NewEvent
from muster.events.payloads.runs import DeadLetterDiscarded, DeadLetterRedriven, RunRestarted
from muster.events.state import RunState, fold
from muster.events.work import WorkState
from muster.execution.flow import ancestors, same_list, unfinished
from muster.execution.laying_out import items_of
from muster.execution.references import HalfUndone
from muster.execution.rerun_scope import is_done_alone, redriven_with, steps_from
from muster.execution.task_keys import ends
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.operations.newer import Version, ensure_alike, ensure_room, inputs_under, newly_due
from muster.recovery.dead_letters import is_discarded
from muster.redaction import learn_settings, redact_data
from muster.saga.resuming import ensure_idle

WorkItems = Mapping[str, Sequence[int | None]]
"""Positions by step; None stands for a step outside a fan-out."""
REPEAT_ORDERS = frozenset({"failed", "set_aside"})
"""The endings of work that can be redriven."""


@dataclass(frozen=True)
class Plan:
    """The work to do again, and the version of the run that this was decided on."""

    run: str
    steps: tuple[str, ...]
    """Steps that are laid out and done again as a whole, in order."""
    slots: tuple[tuple[str, int], ...]
    """Single task instances of steps that are otherwise left alone, by map index."""
    events: tuple[NewEvent, ...]
    version: int
    also: Mapping[str, str] = field(default_factory=dict)
    """Further steps where the restart begins, each with the reason in words that follow the step's name."""
    besides: tuple[str, ...] = ()
    """Steps that are done again only because of `also`, in order."""
    version_now: Version | None = None
    """The version that the run goes on with; None when it keeps its own."""
    latest: bool = False
    """True when Airflow has yet to give the run the latest version of its Dag."""
    bundle_version: str | None = None
    """The version of the bundle that Airflow has to give."""

    def tasks(self, known: Iterable[str]) -> list[str | tuple[str, int]]:
        """The tasks that Airflow has to perform again, of the run's task ids; single instances with their map index.

        The tasks that undo and close the run are always among them, because they judge the run anew.
        """
        chosen = [task for task in known if task.removesuffix(".items") in self.steps or ends(task)]
        return [*sorted(set(chosen)), *self.slots]


def plan_restart(
    log: EventLog, definitions: DefinitionStore, run: str, step: str, *, by: str, now: Version | None = None
) -> Plan:
    """Plan to do `step` again and every step after it, as if they had not been performed. Nothing is written.

    A step on another branch of the graph that was undone, or has no outcome, is done again as well: the run could not
    succeed without it, and no single step leads to both.

    Args:
        now: The version that the run goes on with; None for the one it has.

    Raises:
        PermanentError: there is no such step, the run goes on, a step before it was undone or has no outcome, or a
            step that is not done again has no place in that version. The remedy names where to begin.
        MusterError: there is no such run, or its definition is gone.
    """
    state, own, events = _load(log, definitions, run)
    _at_rest(state, events)
    now = now if now is not None and now.differs_from(own, state.bundle_version) else None
    definition = own if now is None else now.definition
    names = [candidate.id for candidate in definition.steps]
    if step not in names:
        raise PermanentError(f"{run} has no step {step!r}.", remedy=f"Its steps are {', '.join(names)}.")
    if now is not None:
        ensure_room(log, state, own, definition)
    due = {} if now is None else newly_due(state, own, definition)
    also = _also_again(definition, state, step, due=due)
    steps = steps_from(definition, [step, *also])
    besides = tuple(candidate for candidate in steps if candidate not in steps_from(definition, [step]))
    said = RunRestarted(from_=step, again=dict.fromkeys(steps), also=list(also) or None)
    if now is not None:
        ensure_alike(log, state, own, definition, steps)
        said = replace(
            said,
            definition=definition.hash,
            bundle_version=now.bundle_version,
            inputs=inputs_under(state, definition),
        )
    event = said.event(actor=by)
    plan = Plan(run, steps, (), (event,), state.version, also=also, besides=besides, version_now=now)
    return _on_its_version(plan, state, events)


def plan_redrive(log: EventLog, definitions: DefinitionStore, run: str, work_items: WorkItems, *, by: str) -> Plan:
    """Plan to do dead letters of one run again, and the work after them; other items keep their outcome.

    Raises:
        PermanentError: one of them is no dead letter or was discarded, or the run goes on or was undone.
        MusterError: there is no such run, or its definition is gone.
    """
    state, definition, events = _load(log, definitions, run)
    _at_rest(state, events)
    for name, indices in work_items.items():
        for index in indices:
            _may_be_redriven(state, name, index)
    again = redriven_with(definition, state, work_items)
    alone = [name for name in work_items if is_done_alone(definition, work_items, again, name)]
    steps = tuple(name for name in again if name not in alone or definition.step(name).is_shared)
    if (obstacle := _in_the_way(definition, state, steps, again)) is not None:
        raise obstacle.refusal(run)
    # A person has said that nobody does this step any more. Only a restart, which names it, may overrule that.
    discarded = (name for name in steps if name not in work_items and state.step(name).whole.decision == "discarded")
    if (final := next(discarded, None)) is not None:
        raise PermanentError(
            f"Step {final} of {run} was discarded, and comes after what is to be redriven.",
            remedy=f"`muster restart {run} --from STEP` does it again all the same.",
        )
    slots = {
        (name, slot_of(definition, state, name, index))
        for name in alone
        if name not in steps
        for index in again[name] or ()
    }
    event = DeadLetterRedriven(work_items=_plain(work_items), again=again).event(actor=by)
    return _on_its_version(Plan(run, steps, tuple(sorted(slots)), (event,), state.version), state, events)


def _on_its_version(plan: Plan, state: RunState, events: Iterable[Event]) -> Plan:
    latest = plan.version_now is not None or not RunLifecycle.of(events).is_given
    return replace(plan, latest=latest, bundle_version=(plan.version_now or state).bundle_version)


def plan_discard(log: EventLog, run: str, work_items: WorkItems, *, by: str, reason: str) -> Plan:
    """Plan to discard dead letters: nobody does them again. Only the decision is written; nothing is undone.

    Args:
        work_items: Empty for a run that failed before any of its steps: the run as a whole is the dead letter.

    Raises:
        PermanentError: one of them is no dead letter, was discarded already or is being done again, or the log was
            tampered with.
    """
    state, events = _read(log, run)
    ensure_idle(run, events)
    for name, indices in work_items.items():
        for index in indices:
            _dead(state, name, index)
    if not work_items:
        _dead_run(state, events)
    event = DeadLetterDiscarded(work_items=_plain(work_items), reason=reason, whole=not work_items).event(actor=by)
    return Plan(run, (), (), (event,), state.version)


def standing(log: EventLog, definitions: DefinitionStore, run: str, work_items: WorkItems) -> list[str]:
    """The keys of work that earlier steps did for these work items, that could be undone and stands, sorted.

    Discarding leaves that work as it is, so a person is told of it.

    Raises:
        MusterError: there is no such run, or its definition is gone.
    """
    state, definition, _ = _load(log, definitions, run)
    keys_of_work = {
        work_key(before.id, None if before.each is None else index)
        for name, indices in work_items.items()
        for before in ancestors(definition, definition.step(name))
        for index in indices
        if before.can_be_undone and _concerns(definition.step(name), before)
        if (state.step(before.id).work(None if before.each is None else index)).status == "succeeded"
    }
    return sorted(keys_of_work)


def _concerns(step: ResolvedStep, before: ResolvedStep) -> bool:
    """True when the work of `before` was for the same item: both over the same list, or neither over any."""
    if step.each is None or before.each is None:
        return step.each is None and before.each is None
    return same_list(before, step)


def order(log: EventLog, plan: Plan) -> None:
    """Write the plan into the log.

    Raises:
        PermanentError: the run has other events since it was planned; nothing was written. Plan again.
    """
    # The definition goes first: an order in the log that names a definition which is not stored could never be read.
    if (now := plan.version_now) is not None:
        definition = now.definition
        DefinitionStore(log.database).put(definition.canonical_json(), hash=definition.hash, automation=definition.name)
    try:
        # Append at the version that was planned on. If two people redo a run at once, the second is refused, and
        # Airflow is told of one plan only.
        log.append(plan.run, plan.events, expected=plan.version)
    except ConcurrencyError as error:
        raise PermanentError(
            f"Somebody else did something to {plan.run} at the same moment; nothing was changed.",
            remedy=f"Look at `muster show {plan.run}` and decide again.",
        ) from error


def slot_of(definition: Definition, state: RunState, step: str, index: int) -> int:
    """The map index of the task instance that works on an item; one instance may work on several."""
    if definition.step(step).pulls:
        return state.step(step).work(index).member or 0
    return state.step(step).indices.index(index) // definition.step(step).pack_size


def _read(log: EventLog, run: str) -> tuple[RunState, list[Event]]:
    log.ensure_untampered(run)
    events = list(log.read(run))
    return fold(events), events


def _load(log: EventLog, definitions: DefinitionStore, run: str) -> tuple[RunState, Definition, list[Event]]:
    state, events = _read(log, run)
    if state.definition is None:
        raise PermanentError(f"There is no run {run}.", remedy="`muster runs` lists them.")
    return state, Definition.model_validate_json(definitions.get(state.definition)), events


def _at_rest(state: RunState, events: Iterable[Event]) -> None:
    """Refuse a plan for a run that has not ended, goes on, or is half undone.

    Raises:
        PermanentError: the run has not ended.
        UnderWay: an earlier order is not carried out yet; each is carried out before the next.
        HalfUndone: a compensation has not come to its end; resume the run first.
    """
    if state.status == "open":
        raise PermanentError(
            f"{state.id} has not ended.", remedy=f"Wait for its end, or stop it with `muster cancel {state.id}`."
        )
    ensure_idle(state.id, events)
    # A compensation that has not ended may have taken back a part. Done again now, the work would find its effects done
    # under their old keys, and the run would succeed without them. Other keys come with `compensation.succeeded`.
    for step, index, work in state.works():
        if work.half_undone:
            raise HalfUndone(state.id, work_key(step, index))


def _dead(state: RunState, name: str, index: int | None) -> WorkState:
    step = state.step(name)
    work = step.work(index)
    if work.status not in REPEAT_ORDERS or (index is not None and (step.ended_as_a_whole or index not in step.indices)):
        raise PermanentError(
            f"{work_key(name, index)} of {state.id} is no dead letter.", remedy="`muster dead-letters list` shows them."
        )
    if work.decision == "discarded":
        raise PermanentError(
            f"{work_key(name, index)} of {state.id} was discarded; nothing was changed.",
            remedy=f"`muster restart {state.id} --from {name}` does the whole step again.",
        )
    return work


def _dead_run(state: RunState, events: Iterable[Event]) -> None:
    if state.status != "failed":
        raise PermanentError(
            f"{state.id} is no dead letter: it is {state.status}.", remedy="`muster dead-letters list` shows them."
        )
    if is_discarded(events):
        raise PermanentError(
            f"{state.id} was discarded; nothing was changed.",
            remedy=f"`muster restart {state.id} --from STEP` does it.",
        )


def _may_be_redriven(state: RunState, name: str, index: int | None) -> None:
    _dead(state, name, index)
    if index is not None and state.step(name).owed is None:
        raise PermanentError(
            f"{work_key(name, index)} of {state.id} is of a list that a restart was to lay out anew, and did not.",
            remedy=f"`muster restart {state.id} --from {name}` does all of it.",
        )
    if state.status in ("compensated", "stuck"):
        raise PermanentError(
            f"{state.id} is {state.status}: what it did was undone, or is to be.",
            remedy=f"`muster restart {state.id} --from STEP` does it again, all of it.",
        )


class _Obstacle(NamedTuple):
    """A step that has to be done again as well, because the run would go on without its work."""

    step: str
    why: str
    so: str

    def refusal(self, run: str, *, current: bool = False) -> PermanentError:
        how = " --current" if current else ""
        return PermanentError(
            f"Step {self.step} of {run} {self.why}, {self.so}.",
            remedy=f"Begin earlier: `muster restart {run}{how} --from {self.step}`.",
        )


def _also_again(definition: Definition, state: RunState, step: str, *, due: Mapping[str, str]) -> dict[str, str]:
    """Further steps where a restart from `step` has to begin, each with the reason.

    Args:
        due: Steps that the new version may have work for where the run's own had none, each with the reason.

    Raises:
        PermanentError: one of them comes before the step; its remedy is to begin there.
    """
    also: dict[str, str] = {}
    steps = steps_from(definition, [step])
    while (obstacle := _due(due, steps) or _in_the_way(definition, state, steps, steps)) is not None:
        if step in steps_from(definition, [obstacle.step]):
            raise obstacle.refusal(state.id, current=obstacle.step in due)
        # Not refused: of two steps of which none leads to the other, each refusal would name the other as the step to
        # begin with, and a person could begin with neither.
        also[obstacle.step] = obstacle.why
        steps = steps_from(definition, [step, *also])
    return also


def _due(due: Mapping[str, str], again: Collection[str]) -> _Obstacle | None:
    left = (name for name in due if name not in again)
    return next((_Obstacle(name, due[name], "and would not be done") for name in sorted(left)), None)


def _in_the_way(
    definition: Definition, state: RunState, again: Collection[str], touched: Collection[str]
) -> _Obstacle | None:
    """The first step that was undone and is not in `again`, or has no outcome and comes before one of `touched`."""
    for step in definition.steps:
        if step.id not in again and _is_undone(state, step.id):
            return _Obstacle(step.id, "was undone, or is to be", "and would not be done again")
    before = {above.id for name in touched for above in ancestors(definition, definition.step(name))} - set(touched)
    for step in definition.steps:
        if step.id in before and unfinished(step, state):
            return _Obstacle(step.id, "has no outcome", "and nothing after it goes ahead without one")
    return None


def _is_undone(state: RunState, step: str) -> bool:
    """True when the work of the step was undone, or is to be, and was not done anew since."""
    if state.step(step).has_undone:
        return True
    unwinding = state.unwinding
    indices = unwinding.work_items.get(step, ()) if unwinding is not None else ()
    return unwinding is not None and any(state.step(step).work(index).epoch <= unwinding.epoch for index in indices)


def _plain(work_items: WorkItems) -> dict[str, list[int | None]]:
    return {name: list(indices) for name, indices in work_items.items()}


def content(
    log: EventLog, definitions: DefinitionStore, run: str, step: str | None, index: int | None
) -> dict[str, object]:
    """The data that a dead letter was to work on, as the log has it: the run's `inputs`, in a fan-out its `item`."""
    state, definition, _ = _load(log, definitions, run)
    data: dict[str, object] = {"inputs": state.inputs}
    if step is not None and index is not None:
        resolved = definition.step(step)
        outputs = {name: state.step(name).output for name in resolved.references}
        variables = {"inputs": state.inputs, "settings": definition.settings, "steps": outputs, "run": {"id": run}}
        learn_settings(definition.settings)
        data["item"] = redact_data(items_of(resolved, variables, state.step(step).added)[index])
    return data
