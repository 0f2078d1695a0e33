"""A run that a step asks for: named so that it is started once, and what its end means for the step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import to_jsonable_python

from muster.errors import ConcurrencyError, PermanentError
from muster.events.model import Event, EventType, NewEvent
from muster.events.state import RunState
from muster.execution.fanout import end
from muster.execution.outcome import Outcome
from muster.execution.performing import outcome_of
from muster.execution.personal import conceal
from muster.execution.piece import Answer, Piece, failed, succeeded
from muster.execution.references import run_id
from muster.execution.services import Services
from muster.execution.view import load_all
from muster.language.definition import Definition
from muster.language.expressions import evaluate

PARENT = "muster_parent"
"""The key of a run's conf that says which run has asked for it."""
AGAIN = (EventType.RUN_RESTARTED, EventType.DEAD_LETTER_REDRIVEN)
"""A person's word that a run which has ended is done again."""


class ChildFailed(PermanentError):
    """The run that a step has asked for did not succeed: the step fails, and what its own run did is undone."""


@dataclass(frozen=True, kw_only=True)
class Child:
    """A run that a step asks for."""

    automation: str
    dag_run_id: str
    inputs: Mapping[str, Any]
    requested: Event

    @property
    def run(self) -> str:
        """The run's id."""
        return run_id(self.automation, self.dag_run_id)

    @property
    def asked_at(self) -> datetime:
        """When it was asked for."""
        return self.requested.at

    @property
    def conf(self) -> dict[str, Any]:
        """What Airflow is given to start it with."""
        asked = self.requested
        parent = {"run": asked.stream, **{name: asked.data[name] for name in ("step", "index")}, "key": asked.key}
        return {**self.inputs, PARENT: parent}


async def ask_for(services: Services, piece: Piece) -> Child:
    """Name the run that a piece asks for, and write that down before anybody is told to start it.

    Asked again, after a crash, it is the same run; done again, in another epoch, it is another.

    Raises:
        PermanentError: its inputs cannot be worked out.
    """
    automation = _automation(piece)
    inputs = to_jsonable_python(evaluate(piece.step.arguments, piece.variables, where=f"step {piece.step.id}, with"))
    dag_run_id = name_of(piece)
    data = {
        "step": piece.step.id,
        "index": piece.index,
        "child": run_id(automation, dag_run_id),
        "automation": automation,
        "epoch": piece.ref.epoch,
    }
    event = NewEvent(type=EventType.CHILD_REQUESTED, data=data, key=f"{piece.key}/child@{piece.ref.epoch}")
    requested = (await services.log.aappend(piece.ref.run, [event]))[0]
    return Child(automation=automation, dag_run_id=dag_run_id, inputs=inputs, requested=requested)


def name_of(piece: Piece) -> str:
    """The child's run id in Airflow: it follows from the piece and the epoch, whoever works it out."""
    text = f"{piece.ref.run}/{piece.key}@{piece.ref.epoch}"
    return f"child__{hashlib.sha256(text.encode()).hexdigest()[:24]}"


async def requested_by(services: Services, run: str, conf: Mapping[str, Any]) -> Event | None:
    """The event by which another run has asked for this one; None when its conf names none, or a wrong one."""
    named = conf.get(PARENT)
    if not isinstance(named, Mapping) or not all(isinstance(named.get(name), str) for name in ("run", "key")):
        return None
    found = (await services.log.aunder_keys(named["run"], [named["key"]])).get(named["key"])
    # Anybody who starts a run can write its conf: the other run's own log has the word.
    if found is None or found.type != EventType.CHILD_REQUESTED or found.data["child"] != run:
        return None
    return found


def is_child(state: RunState, parent: str, step: str, index: int | None) -> bool:
    """True when a run was opened for that piece: its id alone is no proof, anybody may start a run by any id."""
    return state.parent == {"run": parent, "step": step, "index": index}


async def is_waited_for(services: Services, asked: Event) -> bool:
    """True while the run that asked goes on: what undoes it looks for what it asked for only once."""
    types = [
        EventType.RUN_OPENED,
        EventType.RUN_BEGUN,
        EventType.RUN_RESTARTED,
        EventType.SAGA_UNWINDING,
        EventType.RUN_CLOSED,
    ]
    events = [event async for event in services.log.aread(asked.stream, types=types)]
    return events[-1].type not in (EventType.SAGA_UNWINDING, EventType.RUN_CLOSED)


async def settle(services: Services, piece: Piece, came: Answer | Exception) -> Outcome:
    """Write how a piece ended whose run has: with that run's answer, or an error."""
    ending = failed(piece, came) if isinstance(came, Exception) else succeeded(piece, came)
    stored = (await end(services, piece.ref, [ending]))[0]
    return conceal(piece.view.definition, piece.step.id, outcome_of(stored))


async def answer_of(services: Services, piece: Piece, run: str) -> Answer:
    """What a run that has ended gives to the piece that asked for it.

    Raises:
        ChildFailed: it did not succeed, or somebody else has started it.
    """
    view = await load_all(services, run)
    state = view.state
    if not is_child(state, piece.ref.run, piece.step.id, piece.index):
        raise ChildFailed(
            f"The run {run} was there before step {piece.step.id} asked for it: somebody else has started it.",
            remedy=f"`muster restart {piece.ref.run} --from {piece.step.id}` asks for another.",
        )
    if state.status != "succeeded":
        raise ChildFailed(
            f"The run {run} ended {state.status}: {state.reason}.",
            remedy=f"`muster resume {run}` once you have acted; then resume this run."
            if state.status == "stuck"
            else f"`muster show {run}` tells what happened.",
        )
    return Answer(
        output={
            "run": run,
            "automation": view.definition.name,
            "status": state.status,
            "counts": dict(state.counts),
            "outputs": _outputs(view.definition, state),
        }
    )


async def withdraw(services: Services, run: str, *, by: str, reason: str) -> bool:
    """Have a run go no further: what it has not begun skips itself, and it undoes what it did.

    True when it had not been opened: from now on it never does anything, even if Airflow starts it later.
    """
    # A person's word that it is done again comes after an earlier wish: it takes another.
    again = [order async for order in services.log.aread(run, types=AGAIN) if not order.data.get("keeps")]
    key = f"cancel/{by}@{len(again)}" if again else f"cancel/{by}"
    event = NewEvent(type=EventType.RUN_CANCEL_REQUESTED, data={"reason": reason}, actor=by, key=key)
    try:
        stored = (await services.log.aappend(run, [event], expected=0))[0]
    except ConcurrencyError:
        stored = (await services.log.aappend(run, [event]))[0]
    # What comes before the opening is known to every step of the run.
    return stored.version == 1


def _automation(piece: Piece) -> str:
    if piece.step.run is None:
        raise PermanentError(f"Step {piece.step.id} names no automation to run.")
    return piece.step.run


def _outputs(definition: Definition, state: RunState) -> dict[str, Any]:
    """What the run's steps gave back, but for what only its own log may know."""
    return {
        step.id: state.step(step.id).output
        for step in definition.steps
        if state.step(step.id).status == "succeeded" and not definition.is_personal(step.id)
    }
