"""Events of a run, short to write."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from muster.events.model import EventType as T
from muster.events.model import NewEvent

CONTENT = '{"name":"invoices"}'
"""What stands for the runs' definition."""
DEFINITION = sha256(CONTENT.encode()).hexdigest()


def opened(**data: Any) -> NewEvent:
    return NewEvent(
        type=T.RUN_OPENED,
        actor="ada",
        data={
            "automation": "invoices",
            "definition": DEFINITION,
            "bundle_version": "b1",
            "inputs": {"folder": "inbox"},
            "trigger": "manual",
            "requested_by": "ada",
            "dag_id": "invoices",
            "dag_run_id": "r1",
            **data,
        },
    )


def closed(status: str = "succeeded", **data: Any) -> NewEvent:
    counts = {"succeeded": 2, "failed": 0, "skipped": 1, "set_aside": 1}
    return NewEvent(type=T.RUN_CLOSED, data={"status": status, "counts": counts, **data})


def step(type: T, id: str, index: int | None = None, *, actor: str = "muster", **data: Any) -> NewEvent:
    ends = {T.STEP_SUCCEEDED, T.STEP_FAILED, T.STEP_SKIPPED, T.STEP_SET_ASIDE}
    key = f"{id}[{'' if index is None else index}]" if type in ends else None
    return NewEvent(type=type, actor=actor, key=key, data={"step": id, "index": index, **data})


def whole_run() -> list[NewEvent]:
    """A run with a fan-out, an agent, an approval, a retry, and an item set aside."""
    return [
        opened(),
        step(T.STEP_EXPANDED, "read", length=4, indices=[0, 2, 3]),
        step(T.STEP_STARTED, "read", 0, kind="skill", lane="worker", attempt=1, input={"uri": "a"}),
        step(T.STEP_STARTED, "read", 2, kind="skill", lane="worker", attempt=1, input={"uri": "c"}),
        step(T.STEP_SUCCEEDED, "read", 0, output={"n": 0}, output_type="Invoice", produced_by="finance.read"),
        step(T.STEP_RETRIED, "read", 2, attempt=1, error={"class": "Timeout", "message": "late"}, delay=1),
        step(T.STEP_STARTED, "read", 2, kind="skill", lane="worker", attempt=2),
        step(T.STEP_SUCCEEDED, "read", 2, output={"n": 2}, produced_by="finance.read"),
        step(T.STEP_STARTED, "read", 3, kind="skill", lane="worker", attempt=1),
        step(
            T.STEP_SET_ASIDE,
            "read",
            3,
            item="d",
            findings=[{"rule": "BR-01"}],
            error={"class": "SetAside", "message": "no"},
        ),
        step(T.STEP_COMPLETED, "read", counts={"succeeded": 2, "failed": 0, "skipped": 0, "set_aside": 1}),
        step(T.STEP_STARTED, "code", kind="agent", lane="async", attempt=1, actor="clerk"),
        step(T.MODEL_CALLED, "code", agent="clerk", tier="fast", usage={"input_tokens": 10}, cost="0.0012"),
        step(T.MODEL_CALLED, "code", agent="clerk", tier="fast", usage={"input_tokens": 5}, cost=None),
        step(T.STEP_SUCCEEDED, "code", output="4400", produced_by="fast", actor="clerk"),
        step(T.STEP_STARTED, "approve", kind="human", attempt=1),
        step(T.APPROVAL_REQUESTED, "approve", subject="Pay?", assignees=["lead"], within=60, otherwise="reject"),
        step(T.APPROVAL_ANSWERED, "approve", approved=True, by="lead", answer="person", note="ok", actor="lead"),
        step(T.STEP_SUCCEEDED, "approve", output={"approved": True}, produced_by="person"),
        step(T.STEP_SKIPPED, "tell", reason="when"),
        closed(),
    ]
