"""What receiving and settling a message does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from muster.coordination.messages import statements
from muster.coordination.messages.model import Delivery, DeliveryLost, Envelope, Rules, StoredMessage
from muster.coordination.messages.waking import Address
from muster.events.driver import HotQuery, Query, Work
from muster.redaction import redact

LONGEST_ERROR = 2_000


def take(address: Address, most: int, rules: Rules, open: Callable[[str], Any]) -> Work[list[Delivery]]:
    """At most so many messages that may be handed out now."""
    values = {
        "run": address.run,
        "mailbox": address.mailbox,
        "most": most,
        "visible_after": rules.visible_after,
        "limit": rules.limit,
        "delay": rules.delay,
        "factor": rules.factor,
        "longest": rules.longest,
    }
    return [delivery(row, open) for row in (yield [Query(statements.RECEIVE, values)])[0]]


def acknowledge(delivery: Delivery) -> Work[set[Address]]:
    """Settle it: it is never handed out again. The mailbox, if another one of its conversation may be handed out now.

    Raises:
        DeliveryLost: it was handed out again since, or settled.
    """
    if not (rows := (yield [HotQuery(statements.ACKNOWLEDGE, _held(delivery))])[0]):
        raise _lost(delivery)
    return _freed(delivery, rows[0][0])


def reject(delivery: Delivery, error: str, rules: Rules, *, final: bool) -> Work[tuple[bool, set[Address]]]:
    """Have it handed out again later, or make it a dead letter; whether it is one, and what `acknowledge` gives.

    Raises:
        DeliveryLost: it was handed out again since, or settled.
    """
    more = {
        "error": redact(error)[:LONGEST_ERROR].replace("\0", ""),
        "is_final": final,
        "limit": rules.limit,
        "delay": rules.delay,
        "factor": rules.factor,
        "longest": rules.longest,
    }
    if not (rows := (yield [HotQuery(statements.REJECT, _held(delivery) | more)])[0]):
        raise _lost(delivery)
    return rows[0][0] > 0, _freed(delivery, rows[0][0] - 2)


def defer(delivery: Delivery, seconds: float) -> Work[None]:
    """Give it back for so many seconds; this handing out is not counted.

    Raises:
        DeliveryLost: it was handed out again since, or settled.
    """
    if not (yield [HotQuery(statements.DEFER, {**_held(delivery), "delay": seconds})])[0]:
        raise _lost(delivery)


def listed(run: str | None, status: str | None, limit: int, open: Callable[[str], Any]) -> Work[list[StoredMessage]]:
    """Messages with what became of them, oldest first."""
    rows = (yield [Query(statements.LIST, {"run": run, "status": status, "limit": limit})])[0]
    return [
        StoredMessage(
            envelope=envelope(row, open),
            row=row[13],
            attempts=row[15],
            status=row[16],
            error=row[17],
            settled_at=row[18],
        )
        for row in rows
    ]


def delivery(row: Sequence[Any], open: Callable[[str], Any]) -> Delivery:
    """A row of `statements.COLUMNS` that was handed out."""
    return Delivery(envelope=envelope(row, open), row=row[13], token=row[14], attempt=row[15])


def envelope(row: Sequence[Any], open: Callable[[str], Any]) -> Envelope:
    """A row of `statements.COLUMNS` as a message."""
    return Envelope(
        id=row[0],
        run=row[1],
        sender=row[2],
        recipient=row[3],
        topic=row[4],
        correlation=row[5],
        causation=row[6],
        reply_to=row[7],
        schema_name=row[8],
        priority=row[9],
        sent_at=row[10],
        expires_at=row[11],
        body=open(row[12]),
    )


def _freed(delivery: Delivery, following: int) -> set[Address]:
    return {Address(delivery.envelope.run, delivery.envelope.recipient)} if following > 0 else set()


def _held(delivery: Delivery) -> dict[str, object]:
    return {"run": delivery.envelope.run, "row": delivery.row, "token": delivery.token}


def _lost(delivery: Delivery) -> DeliveryLost:
    return DeliveryLost(
        f"The message {delivery.envelope.id} was handed out again since, or settled.",
        remedy="Undo what was done about it, and receive again.",
    )
