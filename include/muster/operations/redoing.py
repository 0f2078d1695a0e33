"""A person's word that work is done again: a run from one of its steps on, or its dead letters.

A plan says what would be done again and refuses what cannot be; `order` writes it down. Whoever drives the
run then has the plan's tasks performed again, which begins a new epoch.
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
from muster.events.untampered import ensure_untampered
from muster.events.work import WorkState
from muster.execution.fanout import items_of
from muster.execution.flow import ancestors, same_list, unfinished
from muster.execution.references import HalfUndone
from muster.execution.rerun_scope import is_done_alone, redriven_with, steps_from
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.operations.newer import Version, ensure_alike, ensure_room, inputs_under, newly_due
from muster.recovery.dead_letters import is_discarded
from muster.redaction import learn_settings, redact_data
from muster.saga.resuming import ensure_idle

WorkItems = Mapping[str, Sequence[int | None]]
"""Positions by step; None stands for a step outside a fan-out."""
REPEAT_ORDERS = frozenset({"failed", "set_aside"})
"""How work ended that can be redriven."""


@dataclass(frozen=True)
class Plan:
    """What is done again, and on which state of the run that was decided."""

    run: str
    steps: tuple[str, ...]
    """Steps done again as they are laid out then, in order."""
    slots: tuple[tuple[str, int], ...]
    """Single task instances of steps that are otherwise left alone, by map index."""
    events: tuple[NewEvent, ...]
    version: int
    also: Mapping[str, str] = field(default_factory=dict)
    """Where it begins besides the step that was asked for, and why: in words that follow the step's name."""
    besides: tuple[str, ...] = ()
    """What is done again because of that only, in order."""
    version_now: Version | None = None
    """What the run goes on with, where that is another version of its automation."""
    latest: bool = False
    """True where Airflow has to give the run the latest version of its Dag, and has not done so."""
    bundle_version: str | None = None
    """The version that it has to be."""

    def tasks(self, known: Iterable[str]) -> list[str | tuple[str, int]]:
        """What Airflow has to perform again, of the run's task ids: undoing and `close` judge the run anew."""
        chosen = [task for task in known if task.removesuffix(".items") in self.steps or ends(task)]
        return [*sorted(set(chosen)), *self.slots]


def ends(task_id: str) -> bool:
    """True for the tasks that undo a run and close it."""
    return task_id == "close" or task_id.startswith("unwind.")


def plan_restart(
    log: EventLog, definitions: DefinitionStore, run: str, step: str, *, by: str, now: Version | None = None
) -> Plan:
    """The run from `step` on: that step and everything after it, as if they had not been performed.

    What was undone, or has no outcome, and lies on another way is done again with it: no step leads to both.

    Args:
        now: The version that the run goes on with; None for the one it has.

    Raises:
        PermanentError: there is no such step, the run goes on, or what was undone, or has no outcome, comes before it;
            or what is not done again has no place in that version.
        MusterError: there is no such run, or its definition is gone.
    """
    state, own, events = _load(log, definitions, run)
    _at_rest(state, events)
    now = now if now is not None and now.differs_from(own, state.bundle_version) else None
    definition = own if now is None else now.definition
    names = [each.id for each in definition.steps]
    if step not in names:
        raise PermanentError(f"{run} has no step {step!r}.", remedy=f"Its steps are {', '.join(names)}.")
    if now is not None:
        ensure_room(log, state, own, definition)
    due = {} if now is None else newly_due(state, own, definition)
    also = _also_again(definition, state, step, due=due)
    steps = steps_from(definition, [step, *also])
    besides = tuple(each for each in steps if each not in steps_from(definition, [step]))
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
    """Dead letters of one run, and what comes after them; other items keep their outcome.

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
    steps = tuple(name for name in again if name not in alone or definition.step(name).pack == "all")
    if (obstacle := _in_the_way(definition, state, steps, again)) is not None:
        raise obstacle.refusal(run)
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
    """Dead letters that nobody will do again: only the decision is written.

    Args:
        work_items: Empty for a run that failed without a word of any step: then it is the dead letter, as a whole.

    Raises:
        PermanentError: one of them is no dead letter or was discarded already, is being done again at this moment, or
            the log was tampered with.
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
    """What earlier steps did for these, could be undone and is not: discarding leaves it as it is.

    Raises:
        MusterError: there is no such run, or its definition is gone.
    """
    state, definition, _ = _load(log, definitions, run)
    found = {
        work_key(before.id, None if before.each is None else index)
        for name, indices in work_items.items()
        for before in ancestors(definition, definition.step(name))
        for index in indices
        if before.can_be_undone and _concerns(definition.step(name), before)
        if (state.step(before.id).work(None if before.each is None else index)).status == "succeeded"
    }
    return sorted(found)


def _concerns(step: ResolvedStep, before: ResolvedStep) -> bool:
    """True when what `before` did at a position was for the same item; of a step outside a fan-out, for all."""
    if step.each is None or before.each is None:
        return step.each is None and before.each is None
    return same_list(before, step)


def order(log: EventLog, plan: Plan) -> None:
    """Write the plan down.

    Raises:
        PermanentError: something has happened to the run since it was planned; nothing was written.
    """
    if (now := plan.version_now) is not None:
        definition = now.definition
        DefinitionStore(log.database).put(definition.canonical_json(), hash=definition.hash, automation=definition.name)
    try:
        # By the version that was planned on: of two people who redo a run at once the second is refused, and Airflow is
        # told of one plan only.
        log.append(plan.run, plan.events, expected=plan.version)
    except ConcurrencyError as error:
        raise PermanentError(
            f"Somebody else did something to {plan.run} at the same moment; nothing was changed.",
            remedy=f"Look at `muster show {plan.run}` and decide again.",
        ) from error


def slot_of(definition: Definition, state: RunState, step: str, index: int) -> int:
    """The map index of the task instance that works on an item."""
    return state.step(step).indices.index(index) // definition.step(step).pack_size


def _read(log: EventLog, run: str) -> tuple[RunState, list[Event]]:
    ensure_untampered(log, run)
    events = list(log.read(run))
    return fold(events), events


def _load(log: EventLog, definitions: DefinitionStore, run: str) -> tuple[RunState, Definition, list[Event]]:
    state, events = _read(log, run)
    if state.definition is None:
        raise PermanentError(f"There is no run {run}.", remedy="`muster runs` lists them.")
    return state, Definition.model_validate_json(definitions.get(state.definition)), events


def _at_rest(state: RunState, events: Iterable[Event]) -> None:
    """Refuse what the run has not ended for, or no longer: each word about it is carried out before the next.

    What is half undone is undone first. Under the keys of before, what is taken back already would not happen again.
    """
    if state.status == "open":
        raise PermanentError(
            f"{state.id} has not ended.", remedy=f"Wait for its end, or stop it with `muster cancel {state.id}`."
        )
    ensure_idle(state.id, events)
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
    """A step that has to be done again as well: else the run would go on without it."""

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
    """What a restart from a step has to do again besides, and why, where no step leads to both; `due` are the steps
    that the version it goes on with may have done where the run's own has not, and why.

    Raises:
        PermanentError: it comes before the step.
    """
    also: dict[str, str] = {}
    steps = steps_from(definition, [step])
    while (obstacle := _due(due, steps) or _in_the_way(definition, state, steps, steps)) is not None:
        if step in steps_from(definition, [obstacle.step]):
            raise obstacle.refusal(state.id, current=obstacle.step in due)
        # Refused as well, each of two that do not lead to each other would name the other as where to begin.
        also[obstacle.step] = obstacle.why
        steps = steps_from(definition, [step, *also])
    return also


def _due(due: Mapping[str, str], again: Collection[str]) -> _Obstacle | None:
    left = (name for name in due if name not in again)
    return next((_Obstacle(name, due[name], "and would not be done") for name in sorted(left)), None)


def _in_the_way(
    definition: Definition, state: RunState, again: Collection[str], touched: Collection[str]
) -> _Obstacle | None:
    """The first step that was undone and is not done again, or that has no outcome and comes before what is touched."""
    for step in definition.steps:
        if step.id not in again and _is_undone(state, step.id):
            return _Obstacle(step.id, "was undone, or is to be", "and would not be done again")
    before = {each.id for name in touched for each in ancestors(definition, definition.step(name))} - set(touched)
    for step in definition.steps:
        if step.id in before and unfinished(step, state):
            return _Obstacle(step.id, "has no outcome", "and nothing after it goes ahead without one")
    return None


def _is_undone(state: RunState, step: str) -> bool:
    """True when what it did was undone, or is to be, and it was not done anew since."""
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
    """What a dead letter was to work on, as the log has it: the run's inputs, and its item in a fan-out."""
    state, definition, _ = _load(log, definitions, run)
    found: dict[str, object] = {"inputs": state.inputs}
    if step is not None and index is not None:
        resolved = definition.step(step)
        outputs = {name: state.step(name).output for name in resolved.references}
        variables = {"inputs": state.inputs, "settings": definition.settings, "steps": outputs, "run": {"id": run}}
        learn_settings(definition.settings)
        found["item"] = redact_data(items_of(resolved, variables)[index])
    return found
