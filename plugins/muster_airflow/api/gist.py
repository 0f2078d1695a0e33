"""Events in one line each, for people who look through a timeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from muster.events.model import Event
from muster.events.model import EventType as T

LONGEST = 300
LONGEST_OUTPUT = 120
_REASONS = {
    "when": "its condition is false",
    "rejected": "a person rejected it",
    "not_taken": "the branch went another way",
    "empty": "there was nothing to do",
    "not_listed": "there is no work for it in the list any more",
}
Data = Mapping[str, Any]


def gist(event: Event) -> str:
    """What the event says, in a line; empty when its type says it all."""
    tell = _TELLERS.get(event.type)
    text = tell(event.data) if tell else ""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _opened(data: Data) -> str:
    parent = data.get("parent")
    above = f"step {parent.get('step')} of {parent.get('run')}" if isinstance(parent, Mapping) else None
    return _joined(f"asked by {data.get('requested_by') or 'nobody'} ({data.get('trigger')})", above)


def _closed(data: Data) -> str:
    return _joined(data.get("status"), data.get("reason"))


def _expanded(data: Data) -> str:
    indices = data.get("indices")
    work = len(indices) if isinstance(indices, list) else "?"
    return f"{work} of {data.get('length')} items have work"


def _started(data: Data) -> str:
    attempt = data.get("attempt")
    again = f"attempt {attempt}" if isinstance(attempt, int) and attempt > 1 else None
    return _joined(f"lane {data['lane']}" if data.get("lane") else None, again)


def _retried(data: Data) -> str:
    return f"again in {data.get('delay')} s, after: {_error(data)}"


def _succeeded(data: Data) -> str:
    text = json.dumps(data.get("output"), ensure_ascii=False, default=str)
    output = text if len(text) <= LONGEST_OUTPUT else text[:LONGEST_OUTPUT] + "…"
    return _joined("by the fallback" if data.get("fallback") else None, data.get("produced_by"), output)


def _skipped(data: Data) -> str:
    reason = str(data.get("reason") or "")
    return _REASONS.get(reason, reason)


def _completed(data: Data) -> str:
    counts = data.get("counts")
    told = counts.items() if isinstance(counts, Mapping) else ()
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in told if count)


def _set_aside(data: Data) -> str:
    findings = data.get("findings")
    rules = [each.get("rule") for each in findings if isinstance(each, Mapping)] if isinstance(findings, list) else []
    return _joined(_error(data), ", ".join(str(rule) for rule in rules))


def _called_model(data: Data) -> str:
    cost = data.get("cost")
    return _joined(data.get("agent"), data.get("model"), f"{cost} USD" if cost is not None else "price unknown")


def _called_tool(data: Data) -> str:
    return _joined(data.get("agent"), data.get("tool"))


def _requested(data: Data) -> str:
    assignees = data.get("assignees")
    return _joined(data.get("subject"), ", ".join(map(str, assignees)) if isinstance(assignees, list) else None)


def _answered(data: Data) -> str:
    word = "approved" if data.get("approved") else "rejected"
    by = f" by {data['by']}" if data.get("by") else ""
    return _joined(f"{word}{by}", data.get("answer") if data.get("answer") != "person" else None, data.get("note"))


def _reminded(data: Data) -> str:
    people = data.get("people")
    return f"waiting for {', '.join(map(str, people))}" if isinstance(people, list) else ""


def _noticed(data: Data) -> str:
    return _joined(data.get("channel"), data.get("target"), data.get("text"))


def _error(data: Data) -> str:
    error = data.get("error")
    return str(error.get("message") or error.get("class") or "") if isinstance(error, Mapping) else ""


def _joined(*parts: Any) -> str:
    return " · ".join(str(part) for part in parts if part)


_TELLERS: Mapping[str, Callable[[Data], str]] = {
    T.RUN_OPENED: _opened,
    T.RUN_CLOSED: _closed,
    T.RUN_UNDO_REQUESTED: lambda data: str(data.get("reason") or ""),
    T.CHILD_REQUESTED: lambda data: str(data.get("child") or ""),
    T.STEP_EXPANDED: _expanded,
    T.STEP_STARTED: _started,
    T.STEP_RETRIED: _retried,
    T.STEP_FELL_BACK: lambda data: f"the fallback takes over, after: {_error(data)}",
    T.STEP_SUCCEEDED: _succeeded,
    T.STEP_FAILED: _error,
    T.STEP_SKIPPED: _skipped,
    T.STEP_COMPLETED: _completed,
    T.STEP_SET_ASIDE: _set_aside,
    T.MODEL_CALLED: _called_model,
    T.TOOL_CALLED: _called_tool,
    T.APPROVAL_REQUESTED: _requested,
    T.APPROVAL_REMINDED: _reminded,
    T.APPROVAL_ESCALATED: _reminded,
    T.APPROVAL_GRANTED: lambda data: _joined(f"by {data.get('by')}", f"of {data.get('needed')}", data.get("note")),
    T.APPROVAL_REFUSED: lambda data: _joined(f"by {data.get('by')}", data.get("why")),
    T.APPROVAL_ANSWERED: _answered,
    T.NOTICE_SENT: _noticed,
}
