"""`close`: the single leaf of every run, and the reason that Airflow's run state is right."""

from __future__ import annotations

from collections import Counter

from muster.events.model import EventType, NewEvent
from muster.events.state import RunState
from muster.execution.outcome import Outcome
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.verdict import TaskStates, failures
from muster.execution.view import load_all


async def close_run(services: Services, ref: WorkRef, task_states: TaskStates) -> Outcome:
    """Decide how the run ended, and write `run.closed`."""
    view = await load_all(services, ref.run)
    reasons = failures(view.definition, view.state, task_states)
    unwinding = view.state.unwinding
    if unwinding is not None and (unwinding.epoch == ref.epoch or _undone(view.state)):
        # What failed may have been undone itself since, or have come to life and skipped itself.
        reasons = [unwinding.reason]
    status = _status(view.state, reasons, ref.epoch)
    counts = _counts(view.state)
    data = {
        "status": status,
        "reason": "; ".join(reasons) or None,
        "counts": counts,
        "cost": str(view.state.cost),
        "epoch": ref.epoch,
    }
    event = NewEvent(type=EventType.RUN_CLOSED, data=data, key=f"closed@{ref.epoch}")
    closed = (await services.log.aappend(ref.run, [event]))[0]
    if closed.data["status"] != "succeeded":
        said, how = closed.data["reason"], closed.data["status"]
        return Outcome(status="failed", output=counts, reason=said if how == "failed" else f"{how}: {said}")
    return Outcome(status="succeeded", output=counts)


def _status(state: RunState, reasons: list[str], epoch: int) -> str:
    if state.stuck is not None and state.stuck.epoch == epoch:
        return "stuck"
    if undone := _undone(state):
        return "compensated" if all(undone) else "stuck"
    return "failed" if reasons else "succeeded"


def _undone(state: RunState) -> list[bool]:
    """For each piece the run began to undo, whether that is done; what was performed anew since is not among them."""
    unwinding = state.unwinding
    if unwinding is None:
        return []
    pieces = [state.step(name).work(index) for name, indices in unwinding.pieces.items() for index in indices]
    return [work.status == "undone" for work in pieces if work.epoch <= unwinding.epoch]


def _counts(state: RunState) -> dict[str, int]:
    """How many pieces of work ended in each way."""
    counts: Counter[str] = Counter()
    for result in state.steps.values():
        counts.update(result.counts if result.is_fan_out else {result.status: 1})
    return {name: counts.get(name, 0) for name in ("succeeded", "failed", "skipped", "set_aside", "undone")}
