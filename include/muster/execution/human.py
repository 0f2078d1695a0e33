"""A person's decision: what is asked, of whom, and what an answer means. It fails closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from muster.errors import PermanentError
from muster.events.model import EventType, NewEvent
from muster.execution.fanout import end
from muster.execution.piece import Answer, Piece, succeeded
from muster.execution.services import Services
from muster.language.definition import ResolvedHuman
from muster.language.expressions import evaluate
from muster.redaction import redact


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person is asked."""

    subject: str
    body: str | None
    assignees: Sequence[str]
    """The user names who may answer; never the one who asked for the run."""
    within: float | None
    """Seconds until the answer counts as a rejection."""


async def request(services: Services, piece: Piece) -> Request:
    """Work out the request and write `approval.requested`.

    Raises:
        PermanentError: nobody is left who may answer.
    """
    human = _human(piece)
    where = f"step {piece.step.id}, human"
    asked = Request(
        subject=redact(str(evaluate(human.ask, piece.variables, where=where))),
        body=redact(str(evaluate(human.details, piece.variables, where=where))) if human.details else None,
        assignees=_assignees(piece, human),
        within=human.within,
    )
    data = {
        "step": piece.step.id,
        "index": piece.index,
        "subject": asked.subject,
        "assignees": list(asked.assignees),
        "within": asked.within,
        "otherwise": human.otherwise,
        "epoch": piece.ref.epoch,
    }
    key = f"{piece.key}/requested@{piece.ref.epoch}"
    await services.log.aappend(piece.ref.run, [NewEvent(type=EventType.APPROVAL_REQUESTED, data=data, key=key)])
    return asked


async def answer(
    services: Services, piece: Piece, *, approved: bool, by: str | None, note: str | None = None
) -> dict[str, Any]:
    """Write a person's answer, or the silence that counts as one; return the step's output.

    The requester's own approval counts as a rejection, whoever let it through.
    """
    how: Literal["person", "timeout", "refused"] = "person" if by is not None else "timeout"
    if approved and (by is None or by == piece.view.opened.data["requested_by"]):
        approved, how = False, "refused" if by is not None else "timeout"
    output = {
        "approved": approved,
        "by": by,
        "how": how,
        "note": note,
        "at": services.clock().isoformat(),
    }
    data = {"step": piece.step.id, "index": piece.index, "answer": how, "epoch": piece.ref.epoch, **output}
    answered = NewEvent(
        type=EventType.APPROVAL_ANSWERED,
        data=data,
        actor=by or "muster",
        key=f"{piece.key}/answered@{piece.ref.epoch}",
    )
    ended = succeeded(piece, Answer(output=output, produced_by=f"person:{by}" if by else "rules"))
    stored = await end(services, piece.ref, [answered, ended])
    found: dict[str, Any] = stored[1].data["output"]
    return found


def _human(piece: Piece) -> ResolvedHuman:
    if piece.step.human is None:
        raise PermanentError(f"Step {piece.step.id} does not ask a person.")
    return piece.step.human


def _assignees(piece: Piece, human: ResolvedHuman) -> list[str]:
    value = evaluate(human.assignees, piece.variables, where=f"step {piece.step.id}, assignees")
    names = [value] if isinstance(value, str) else list(value or [])
    requester = piece.view.opened.data["requested_by"]
    allowed = [str(name) for name in names if name != requester]
    if not allowed:
        raise PermanentError(
            f"Nobody may answer step {piece.step.id}: its assignees are {names}, and {requester} asked for the run.",
            remedy="Name another assignee; whoever asks for a run cannot approve it.",
        )
    return allowed
