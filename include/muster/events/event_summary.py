"""Events in one line each, for people who look through a timeline."""

from __future__ import annotations

import json

from muster.events.model import Event
from muster.events.payloads import people, runs, work
from muster.events.payloads.base import Payload, RecordedError, payload_of
from muster.events.sealing import words

LONGEST = 300
LONGEST_OUTPUT = 120
_REASONS = {
    "when": "its condition is false",
    "rejected": "a person rejected it",
    "not_taken": "the branch went another way",
    "empty": "there was nothing to do",
    "not_listed": "there is no work for it in the list any more",
    "item_failed": "another item of its list had failed before it began",
}


def event_summary(event: Event, *, output: bool = True) -> str:
    """What the event says, in a line, with or without what the work gave back; empty when its type says it all."""
    said = payload_of(event)
    try:
        text = "" if said is None else " · ".join(str(part) for part in _parts(said, output) if part)
    except (AttributeError, KeyError, TypeError):
        # An event that somebody changed by hand may lack anything. Where it is shown, people are told that it was
        # changed.
        text = ""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _parts(said: Payload, output: bool) -> tuple[object, ...]:
    """The parts of an event's line; the caller leaves out those that are empty or None."""
    match said:
        case runs.RunOpened(parent=parent):
            above = f"step {parent['step']} of {parent['run']}" if parent else None
            return f"asked by {said.requested_by or 'nobody'} ({said.trigger})", above
        case runs.RunClosed():
            return said.status, words(said.reason)
        case runs.RunUndoRequested() | runs.RunCancelRequested() | runs.SagaUnwinding():
            return (words(said.reason),)
        case runs.RunResumed():
            return "done by hand" if said.by_hand else None, words(said.note)
        case runs.RunRestarted():
            version = f"with the version {said.definition[:12]}" if said.definition else None
            return f"from {', '.join(said.begins)}", version
        case work.ChildRequested():
            return (said.child,)
        case work.StepExpanded():
            members = f"a team of {', '.join(said.members)}" if said.members else None
            return f"{len(said.indices)} of {said.length} {'tasks' if members else 'items'} have work", members
        case work.StepExtended():
            names = said.names if isinstance(said.names, list) else ()
            return f"{said.length - said.first} more", ", ".join(map(str, names))
        case work.TaskAssigned():
            return (words(said.why),)
        case work.StepStarted():
            again = f"attempt {said.attempt}" if said.attempt and said.attempt > 1 else None
            return f"lane {said.lane}" if said.lane else None, again, "ahead of Airflow" if said.ahead else None
        case work.OfRetry():
            return (f"again in {said.delay} s, after: {_error(said.error)}",)
        case work.StepFellBack():
            return (f"the fallback takes over, after: {_error(said.error)}",)
        case work.StepSucceeded():
            return (
                "by the fallback" if said.fallback else None,
                said.produced_by,
                shortened(said.output) if output else None,
            )
        case work.CompensationSucceeded():
            return ("by hand" if said.by_hand else None,)
        case runs.RunStuck() | work.StepFailed() | work.CompensationFailed():
            return _error(said.error), words(said.error.remedy)
        case work.StepSkipped():
            reason = words(said.reason) or ""
            return (_REASONS.get(reason, reason),)
        case work.StepCompleted():
            return (", ".join(f"{count} {name.replace('_', ' ')}" for name, count in said.counts.items() if count),)
        case work.StepSetAside():
            rules = [finding.get("rule") for finding in said.findings or () if isinstance(finding, dict)]
            return _error(said.error), ", ".join(map(str, rules))
        case work.ModelCalled():
            return said.agent, said.model, f"{said.cost} USD" if said.cost is not None else "price unknown"
        case work.ToolCalled():
            return said.agent, said.tool
        case work.ContextShown():
            left = f"{len(said.left_out)} left out" if said.left_out else None
            return said.agent, f"{len(said.versions)} entries, about {said.tokens} tokens", left
        case people.ApprovalRequested():
            return words(said.subject), ", ".join(said.assignees)
        case people.ApprovalTold() | people.ApprovalReminded() | people.ApprovalEscalated():
            return (f"waiting for {', '.join(said.people)}",)
        case people.ApprovalGranted():
            return f"by {said.by}", f"of {said.needed}", words(said.note)
        case people.ApprovalRefused():
            return f"by {said.by}", said.why
        case people.ApprovalAnswered():
            by = f" by {said.by}" if said.by else ""
            how = said.answer if said.answer != "person" else None
            return f"{'approved' if said.approved else 'rejected'}{by}", how, words(said.note)
        case people.NoticeSent():
            return said.channel, words(said.target), words(said.text)
    return ()


def _error(error: RecordedError | None) -> str | None:
    return None if error is None else words(error.message) or error.class_


def shortened(value: object) -> str:
    """The beginning of a value's JSON."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_OUTPUT else text[:LONGEST_OUTPUT] + "…"
