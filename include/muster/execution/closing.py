"""`close`: the single leaf of every run, and the reason that Airflow's run state is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from muster.events.model import EventType, NewEvent
from muster.events.state import RunState
from muster.execution.flow import UPSTREAM_FAILED
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
        "cost": str(view.state.cost) if view.state.cost is not None else None,
        "epoch": ref.epoch,
    }
    event = NewEvent(type=EventType.RUN_CLOSED, data=data, key=f"closed@{ref.epoch}")
    closed = (await services.log.aappend(ref.run, [event]))[0]
    if closed.data["status"] == "failed":
        return Outcome(status="failed", output=counts, reason=closed.data["reason"])
    return Outcome(status="succeeded", output=counts)


def _reasons(definition: Definition, state: RunState, task_states: Mapping[str, str | None]) -> list[str]:
    """Why the run failed, one sentence a step; empty when it succeeded."""
    reasons = []
    for step in definition.steps:
        result = state.step(step.id)
        if result.is_fanout and result.failed:
            reasons.append(f"{len(result.failed)} of {len(result.items)} items of step {step.id} failed")
        elif result.status == "failed":
            reasons.append(f"step {step.id} failed: {result.error_message}")
        elif result.status in ("pending", "started") and result.reason != UPSTREAM_FAILED:
            lost = [name for name, found in task_states.items() if _belongs(name, step.id) and found == "failed"]
            if lost:
                reasons.append(f"step {step.id} stopped without an outcome")
    return reasons


def _belongs(task: str, step: str) -> bool:
    rest = task.removeprefix(step)
    return task.startswith(step) and (rest in ("", ".items") or (rest[0] == "_" and rest[1:].isdigit()))


def _counts(state: RunState) -> dict[str, Any]:
    """How many pieces of work ended in each way."""
    counts: Counter[str] = Counter()
    for result in state.steps.values():
        if result.is_fanout:
            counts.update(item.status for item in result.items.values())
        else:
            counts[result.status] += 1
    return {name: counts.get(name, 0) for name in ("succeeded", "failed", "skipped", "set_aside")}
