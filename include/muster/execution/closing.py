"""`close`: the single leaf of every run, and the reason that Airflow's run state is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from muster.events.model import EventType, NewEvent
from muster.events.state import RunState, StepState
from muster.execution.outcome import Outcome
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.view import load_all
from muster.language.definition import Definition


async def close_run(services: Services, ref: WorkRef, task_states: Mapping[str, str | None]) -> Outcome:
    """Decide how the run ended, and write `run.closed`.

    Args:
        task_states: Airflow's state by task (`step`, `step_<map index>`, `step.items`), for work whose
            process died without a word in the log.
    """
    view = await load_all(services, ref.run)
    reasons = _reasons(view.definition, view.state, task_states)
    status = "failed" if reasons else "succeeded"
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
    if closed.data["status"] == "failed":
        return Outcome(status="failed", output=counts, reason=closed.data["reason"])
    return Outcome(status="succeeded", output=counts)


def _reasons(definition: Definition, state: RunState, task_states: Mapping[str, str | None]) -> list[str]:
    """Why the run failed, one sentence a step; empty when it succeeded."""
    if state.status == "unknown":
        return ["the run was never opened"]
    return [reason for step in definition.steps if (reason := _reason(state.step(step.id), task_states))]


def _reason(result: StepState, task_states: Mapping[str, str | None]) -> str | None:
    if result.is_fan_out and (lost := result.counts["failed"]):
        return f"{lost} of {len(result.indices)} items of step {result.id} failed"
    if result.is_fan_out and result.status == "failed":
        return f"every item of step {result.id} was set aside"
    if result.status == "failed":
        return f"step {result.id} failed: {(result.whole.error or {}).get('message')}"
    if any(_belongs(task, result.id) and task_states[task] == "failed" for task in task_states):
        # The process died before it could say so, or after it had: either way Airflow shows red.
        return f"step {result.id} stopped {'after its outcome' if result.ended else 'without an outcome'}"
    return None


def _belongs(task: str, step: str) -> bool:
    rest = task.removeprefix(step)
    return task.startswith(step) and (rest in ("", ".items") or (rest[0] == "_" and rest[1:].isdigit()))


def _counts(state: RunState) -> dict[str, int]:
    """How many pieces of work ended in each way."""
    counts: Counter[str] = Counter()
    for result in state.steps.values():
        counts.update(result.counts if result.is_fan_out else {result.status: 1})
    return {name: counts.get(name, 0) for name in ("succeeded", "failed", "skipped", "set_aside")}
