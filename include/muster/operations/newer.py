"""Lets a run go on with another version of its automation, and refuses versions that would misread its outcomes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from muster.errors import PermanentError
from muster.events.log import EventLog
from muster.events.state import RunState
from muster.execution.flow import ancestors
from muster.language.definition import Definition
from muster.language.expressions import references
from muster.language.resolved_step import ResolvedStep
from muster.operations.differing import parts
from muster.recovery.ledger import Ledger
from muster.runs.opening import fitting_inputs

_READ_BY = frozenset(
    {
        *("kind", "each", "aligned_to", "pack", "failures", "when_references", "branch"),
        *("lock", "compensate", "irreversible"),
    }
)
"""Keys of a step by which its outcome is read, or which decide whether and how it is undone."""
_DUE_BY = frozenset({"kind", "each", "aligned_to", "after", "when"})
"""Keys of a step which decide whether there is work for it."""
_FREE = frozenset({"title", "retry", "timeout", "priority", "pool"})
"""Keys of a step which do not change its work, only how often it is tried, and where."""


@dataclass(frozen=True)
class Version:
    """A version of an automation, and the version of the Dag bundle that Airflow has it from."""

    definition: Definition
    bundle_version: str | None

    def differs_from(self, definition: Definition, bundle_version: str | None) -> bool:
        """True when this is not the version that a run is performed by: another YAML, or other code of a skill."""
        is_other_code = None not in (self.bundle_version, bundle_version) and self.bundle_version != bundle_version
        return self.definition.hash != definition.hash or is_other_code


def inputs_under(run: RunState, definition: Definition) -> dict[str, object]:
    """The run's inputs as another version declares them: removed ones are left out, new ones have their defaults.

    Raises:
        PermanentError: the inputs do not fit that version; start a new run.
    """
    inputs, problems = fitting_inputs(definition, run.inputs)
    if problems:
        raise PermanentError(
            f"The inputs of {run.id} do not fit {definition.name} as it is now: {'; '.join(problems)}.",
            remedy=f"Start a new run: `muster run {definition.name}`.",
        )
    return inputs


def ensure_room(log: EventLog, run: RunState, own: Definition, now: Definition) -> None:
    """Refuse a version that has no place for a step which the run has begun.

    Raises:
        PermanentError: a step that has begun is gone, or was one step and is a list now; or the run is about somebody.
    """
    # What is sealed in a log follows from the definition, and is decided once, when the run is opened.
    if log.subject(run.id) is not None or now.personal is not None:
        about = (
            "is about somebody" if log.subject(run.id) is not None else f"is about nobody, other than {now.name} now"
        )
        raise PermanentError(
            f"{run.id} {about}, and keeps the version it was opened with.",
            remedy="Leave out `--current`, or start a new run.",
        )
    for step in own.steps:
        successor, has_begun = now.find(step.id), _has_begun(run, step)
        if successor is None and has_begun:
            raise PermanentError(
                f"Step {step.id} of {run.id} has begun, and {now.name} has no such step any more.",
                remedy="Put it back, or leave out `--current`.",
            )
        # A list that was laid out stays a list in the log, even an empty one. Work that is done in its place as one
        # step would not be found when the run is undone.
        was_listed = run.step(step.id).is_fan_out
        if successor is not None and (has_begun or was_listed) and (successor.each is None) != (step.each is None):
            was, is_now = ("one step", "a list") if step.each is None else ("a list", "one step")
            raise PermanentError(
                f"Step {step.id} of {run.id} has begun as {was}, and is {is_now} now.",
                remedy="Give the new step an id of its own, or leave out `--current`.",
            )


def newly_due(run: RunState, own: Definition, now: Definition) -> dict[str, str]:
    """The steps that another version may have work for where the run's own had none, each with the reason.

    The reason is in words that follow the step's name.
    """
    # "Skipped" is an outcome by the run's own version alone. If it stood, the steps after a question would go ahead,
    # although the new version asks somebody first.
    due: dict[str, str] = {}
    for step in now.steps:
        if (before := own.find(step.id)) is None:
            due[step.id] = "is new"
        elif (left_out := _left_out(run, step)) and (changed := [*_changed(own, before, now, step, _DUE_BY)]):
            due[step.id] = f"was not done {left_out}, and its {' and '.join(changed)} was changed"
    return due


def _left_out(run: RunState, step: ResolvedStep) -> str:
    """For what a step was not done, in words; empty when it was done for all that there was."""
    if not _has_begun(run, step):
        return "before"
    # Also a step that was undone, and that a later execution left out: it has begun all the same.
    skipped = [work.status == "skipped" for work in run.step(step.id).works]
    return ("last" if skipped[0] else "for all items before") if any(skipped) else ""


def ensure_alike(log: EventLog, run: RunState, own: Definition, now: Definition, again: Collection[str]) -> None:
    """Refuse a version that takes work done by the run's own version for something else.

    A step that is not done again must keep the keys by which its outcome is read; a question must keep all that was
    asked. A step that is done again, and of which something stands outside, must keep all that it does.

    Raises:
        PermanentError: a step has changed in such a key. The remedy says where to begin, or to keep the version.
    """
    acted, bound = _acted(log, run), list[str]()
    for step in now.steps:
        before = own.find(step.id)
        if before is None or not _has_begun(run, step):
            continue
        # Were a step that stands outside changed and done again, an effect in doubt would be gone round under another
        # request, or an item be done, and undone later, in the place of another.
        is_kept, stands = step.id not in again, before.id in acted or _stands(run, before)
        if stands:
            bound.append(step.id)
        if not is_kept and not stands:
            continue
        bears = _READ_BY if is_kept and not before.asks else frozenset(before.model_dump()) - _FREE
        if changed := [*_changed(own, before, now, step, bears)]:
            what = "is not done again" if is_kept else "was done and stands"
            begin = f"Begin with it: `muster restart {run.id} --current --from {step.id}`."
            undo = "Leave out `--current`. Once the run has been undone, a restart with it does the step anew."
            raise PermanentError(
                f"Step {step.id} of {run.id} {what}, and its {' and '.join(changed)} was changed.",
                remedy=undo if stands else begin,
            )
    for first, then in sorted(_order(own, bound) - _order(now, bound)):
        raise PermanentError(
            f"Step {first} of {run.id} came before {then}, and does not now: they would be undone in another order.",
            remedy="Leave out `--current`, or put them in the order in which they were done.",
        )


def _changed(
    own: Definition, before: ResolvedStep, now: Definition, step: ResolvedStep, bears: Collection[str]
) -> Iterator[str]:
    """The names of what differs between two versions of a step, of the keys in `bears`."""
    for name in sorted(bears):
        if getattr(step, name, None) != getattr(before, name, None):
            yield name
    of_list, of_list_before = (version.find(one.aligned_to or one.id) for version, one in ((now, step), (own, before)))
    if of_list is not None and of_list_before is not None and of_list.each != of_list_before.each:
        yield f"list, which is that of {of_list.id},"
    # A compensation is given all settings, whether its expressions name them or not.
    names_them = (
        "settings" in references([(of_list or step).each, *step.model_dump(include=set(bears)).values()]).variables
    )
    if own.settings != now.settings and (names_them or ("compensate" in bears and step.compensate is not None)):
        yield "setting " + ", ".join(_different(own.settings, now.settings))


def _order(definition: Definition, names: Collection[str]) -> set[tuple[str, str]]:
    """The pairs of these steps of which the first comes before the second."""
    steps = (definition.find(name) for name in names)
    return {
        (before.id, step.id) for step in steps if step for before in ancestors(definition, step) if before.id in names
    }


def _acted(log: EventLog, run: RunState) -> set[str]:
    """The ids of the steps with an effect in the ledger that happened or is in doubt."""
    effects = Ledger(log.database).entries(run=run.id, limit=1_000_000)
    keys = (entry.key.removeprefix(f"{run.id}/") for entry in effects if entry.status != "failed")
    return {re.split(r"[/\[~]", key, maxsplit=1)[0] for key in keys}


def _stands(run: RunState, step: ResolvedStep) -> bool:
    """True when work of the step was done that is to be undone one day, or is irreversible."""
    done = any(work.begun is not None and work.status != "undone" for work in run.step(step.id).works)
    return done and (step.can_be_undone or step.irreversible)


def differences(own: Definition, now: Definition) -> Iterator[Mapping[str, object]]:
    """The differences of another version, step by step: `step`, `what`, and the values `was` and `is`.

    A new step has no `was`, and a step that is gone has no `is`.
    """
    for step in now.steps:
        if (before := own.find(step.id)) is None:
            yield {"step": step.id, "what": "the step", "is": step.title}
            continue
        for name in ("title", "when", "each", "arguments", "ask", "branch", "irreversible", "lock"):
            was, is_now = getattr(before, name, None), getattr(step, name, None)
            if was != is_now:
                yield {"step": step.id, "what": name, "was": was, "is": is_now}
        for part in parts(own, before, now, step):
            if part.old != part.new:
                yield {"step": step.id, "what": part.path, "was": part.old, "is": part.new}
    for step in own.steps:
        if now.find(step.id) is None:
            yield {"step": step.id, "what": "the step", "was": step.title}
    for name in _different(own.settings, now.settings):
        was, is_now = own.settings.get(name), now.settings.get(name)
        yield {"step": None, "what": f"settings.{name}", "was": was, "is": is_now}


def _different(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _has_begun(run: RunState, step: ResolvedStep) -> bool:
    return any(work.attempt for work in run.step(step.id).works)
