"""`muster approve` and `reject`: a person's answer, given through Airflow's own approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from muster.cli.connections import airflow, in_airflow, open_log, open_queries
from muster.cli.output import console, emit
from muster.errors import MusterError
from muster.events.model import Event, EventType
from muster.events.payloads.work import StepExpanded
from muster.local.client import AirflowClient, Unreachable

OPEN = frozenset({"awaiting_input", "deferred", "running", "scheduled", "queued", "up_for_retry"})
"""States of a task whose question is open. It is not always deferred: the task wakes up to remind people."""


@dataclass(frozen=True)
class Waiting:
    """One approval that waits for a person."""

    task: Mapping[str, object]
    subject: str
    assignees: tuple[str, ...]
    step: str
    index: int | None
    """Position in the fan-out; None outside one."""


def answer(
    run: str, *, approved: bool, step: str | None, item: int | None, note: str | None, user: str, as_json: bool
) -> None:
    """Answer what waits in a run: one approval, or all that `step` and `item` leave."""
    with open_queries() as (queries, database):
        row = queries.run(run)
        if approved:
            # An altered log may show people another question than was asked, so nothing is approved by it. A rejection
            # is taken, because nothing is done by it.
            open_log(database).ensure_untampered(row.id)
        events = queries.timeline(row.id)
    dag_id, run_id = in_airflow(row.id)
    with airflow(user) as client:
        chosen = _choose(pending(client, dag_id, run_id, events), row.id, step, item, user)
        option, values = "Approve" if approved else "Reject", {"note": note} if note else None
        answered, refused = _all(client, chosen, option, values)
    verdict = "approved" if approved else "rejected"
    if as_json:
        said = [
            {"run": row.id, "step": waiting.step, "item": waiting.index, "answer": verdict, "by": user}
            for waiting, _ in answered
        ]
        emit(
            [{**entry, **({"more": words} if words else {})} for entry, (_, words) in zip(said, answered, strict=True)]
        )
    else:
        for waiting, words in answered:
            console().print(f"{user} {verdict}: {waiting.subject}" + (f" {words}" if words else ""), markup=False)
    if refused:
        raise MusterError(" ".join(error.message for error in refused), remedy=refused[0].remedy)


def _all(
    client: AirflowClient, chosen: Sequence[Waiting], option: str, values: dict[str, str] | None
) -> tuple[list[tuple[Waiting, object]], list[MusterError]]:
    """The approvals that were answered, each with what Airflow says when more are needed; why others were refused."""
    answered: list[tuple[Waiting, object]] = []
    refused: list[MusterError] = []
    for waiting in chosen:
        try:
            answered.append((waiting, client.answer(dict(waiting.task), option, values).get("detail")))
        except Unreachable:
            raise
        except MusterError as error:
            refused.append(error)
    return answered, refused


def pending(client: AirflowClient, dag_id: str, run_id: str, events: Sequence[Event]) -> list[Waiting]:
    """The approvals of a run that wait for an answer."""
    waiting = []
    for detail in client.approvals(dag_id, run_id):
        task = detail["task_instance"]
        if task["state"] in OPEN:
            people = tuple(user["name"] for user in detail.get("assigned_users") or ())
            index = position(events, task["task_id"], task["map_index"])
            waiting.append(Waiting(task, detail["subject"], people, task["task_id"], index))
    return waiting


def position(events: Sequence[Event], step: str, slot: int) -> int | None:
    """The item that the mapped task with map index `slot` works on.

    The two numbers differ, because items without work have no task.
    """
    if slot < 0:
        return None
    indices: Sequence[int] = ()
    for event in events:
        if event.type == EventType.STEP_EXPANDED and event.step == step:
            indices = StepExpanded.of(event).indices
    return indices[slot] if slot < len(indices) else slot


def _choose(waiting: Sequence[Waiting], run: str, step: str | None, item: int | None, user: str) -> list[Waiting]:
    fitting = [approval for approval in waiting if step in (None, approval.step) and item in (None, approval.index)]
    if not fitting:
        others = "; ".join(_name(approval) for approval in waiting)
        raise MusterError(
            f"Nothing in {run} waits for this answer.",
            remedy=f"What waits: {others}." if others else f"`muster show {run}` tells how far it is.",
        )
    allowed = [approval for approval in fitting if not approval.assignees or user in approval.assignees]
    if not allowed:
        people = sorted({name for approval in fitting for name in approval.assignees})
        raise MusterError(
            f"{user} may not answer this: it waits for {', '.join(people)}.",
            remedy=f"Add --as {people[0]} if that is you.",
        )
    return allowed


def _name(waiting: Waiting) -> str:
    return f"--step {waiting.step}" + (f" --item {waiting.index}" if waiting.index is not None else "")
