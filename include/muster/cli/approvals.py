"""`muster approve` and `reject`: a person's answer, given through Airflow's own approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from muster.cli.connections import airflow, open_log, open_queries
from muster.cli.output import console, emit
from muster.errors import MusterError
from muster.events.model import Event, EventType
from muster.events.payloads.work import StepExpanded
from muster.events.untampered import ensure_untampered
from muster.local.client import AirflowClient, Unreachable

OPEN = frozenset({"awaiting_input", "deferred", "running", "scheduled", "queued", "up_for_retry"})
"""States of a task whose question is open: also while it is woken, to remind somebody for one."""


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
    run: str,
    *,
    approved: bool,
    step: str | None,
    item: int | None,
    note: str | None,
    user: str,
    as_json: bool,
) -> None:
    """Answer what waits in a run: one approval, or all that `step` and `item` leave."""
    queries, database = open_queries()
    try:
        row = queries.run(run)
        if approved:
            # A rejection goes on with nothing.
            ensure_untampered(open_log(database), row.id)
        events = queries.timeline(row.id)
    finally:
        database.close()
    dag_id, _, run_id = row.id.partition("/")
    with airflow(user) as client:
        chosen = _choose(pending(client, dag_id, run_id, events), row.id, step, item, user)
        option, values = "Approve" if approved else "Reject", {"note": note} if note else None
        answered, refused = _all(client, chosen, option, values)
    verdict = "approved" if approved else "rejected"
    if as_json:
        said = [{"run": row.id, "step": it.step, "item": it.index, "answer": verdict, "by": user} for it, _ in answered]
        emit([{**each, **({"more": words} if words else {})} for each, (_, words) in zip(said, answered, strict=True)])
    else:
        for it, words in answered:
            console().print(f"{user} {verdict}: {it.subject}" + (f" {words}" if words else ""), markup=False)
    if refused:
        raise MusterError(" ".join(error.message for error in refused), remedy=refused[0].remedy)


def _all(
    client: AirflowClient, chosen: Sequence[Waiting], option: str, values: dict[str, str] | None
) -> tuple[list[tuple[Waiting, object]], list[MusterError]]:
    """Those that were answered, each with what Airflow says where more approvals are needed; why others were not."""
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
    found = []
    for detail in client.approvals(dag_id, run_id):
        task = detail["task_instance"]
        if task["state"] in OPEN:
            people = tuple(user["name"] for user in detail.get("assigned_users") or ())
            index = position(events, task["task_id"], task["map_index"])
            found.append(Waiting(task, detail["subject"], people, task["task_id"], index))
    return found


def position(events: Sequence[Event], step: str, slot: int) -> int | None:
    """Which item a mapped task works on: items without work have no task, so the two numbers differ."""
    if slot < 0:
        return None
    indices: Sequence[int] = ()
    for event in events:
        if event.type == EventType.STEP_EXPANDED and event.step == step:
            indices = StepExpanded.of(event).indices
    return indices[slot] if slot < len(indices) else slot


def _choose(waiting: Sequence[Waiting], run: str, step: str | None, item: int | None, user: str) -> list[Waiting]:
    fitting = [it for it in waiting if step in (None, it.step) and item in (None, it.index)]
    if not fitting:
        others = "; ".join(_name(it) for it in waiting)
        raise MusterError(
            f"Nothing in {run} waits for this answer.",
            remedy=f"What waits: {others}." if others else f"`muster show {run}` tells how far it is.",
        )
    allowed = [it for it in fitting if not it.assignees or user in it.assignees]
    if not allowed:
        people = sorted({name for it in fitting for name in it.assignees})
        raise MusterError(
            f"{user} may not answer this: it waits for {', '.join(people)}.",
            remedy=f"Add --as {people[0]} if that is you.",
        )
    return allowed


def _name(it: Waiting) -> str:
    return f"--step {it.step}" + (f" --item {it.index}" if it.index is not None else "")
