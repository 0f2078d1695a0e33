"""Notices that nobody received: sent again for a day when it may help, else reported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta

from muster.notifications.model import Notice
from muster.notifications.outbox import Outbox, OutboxEntry
from muster.operations.reconciling.findings import LIMIT, Discrepancy, Scope
from muster.operations.unanswered import withdraw_answered

log = logging.getLogger(__name__)

LONGEST_WAIT = timedelta(days=1)
"""A notice that failed is sent again until it is this old."""
OWN = "reconciler/"
"""How the keys of the reconciler's own notices begin. The loss of one of them is not told in another."""


def find_notices(scope: Scope) -> Iterator[Discrepancy]:
    """Notices that failed or whose sender died, sent again where that may help.

    Sending goes by the key of the notice: the outbox and the ledger keep one that was delivered from being sent twice.
    """
    outbox = Outbox(scope.database)
    # Before the look: a reminder that is sent again after the answer would ask people for nothing.
    if scope.mend:
        withdraw_answered(scope.database)
        outbox.settle_kept()
    for entry in outbox.undelivered(scope.before, limit=LIMIT):
        why = entry.error or "its sender died"
        message = _undelivered(scope, entry, why)
        if not (entry.may_pass and scope.now - entry.created_at < LONGEST_WAIT):
            person = not entry.key.startswith(OWN)
            remedy = "`muster outbox` shows it: tell its people by other means."
            yield Discrepancy("notice", entry.key, message, remedy, run=entry.run, person=person)
        elif scope.send is not None and scope.mend and _is_due(scope, entry):
            yield _again(scope, entry, message)
        else:
            remedy = f"It is sent again until it is {LONGEST_WAIT.days * 24} hours old."
            yield Discrepancy("notice", entry.key, message, remedy, run=entry.run, person=False)


def _undelivered(scope: Scope, entry: OutboxEntry, why: str) -> str:
    """The message of a notice that was not delivered.

    If the run is about somebody, the message names neither the place nor the error, because Airflow keeps discrepancies
    in its own logs, where nothing is forgotten.
    """
    if entry.run is not None and scope.log.subject(entry.run) is not None:
        return f"not delivered: {why.partition(':')[0]}"
    return f"not delivered to {entry.target}: {why}"


def _is_due(scope: Scope, entry: OutboxEntry) -> bool:
    """True when the next attempt is due: the pause is half of the time since the notice was written, so it grows."""
    tried = entry.settled_at
    return tried is None or scope.now - tried >= max(scope.quiet, (tried - entry.created_at) / 2)


def _again(scope: Scope, entry: OutboxEntry, message: str) -> Discrepancy:
    assert scope.send is not None
    names = ("key", "run", "channel", "target", "subject", "text")
    try:
        scope.send(Notice(**{name: getattr(entry, name) for name in names}))
    except Exception as error:
        # Only the class of the error: a mail server's answer repeats the address.
        log.warning("The notice %s was sent again and failed: %s", entry.key, type(error).__name__)
        again = _undelivered(scope, entry, f"{type(error).__name__}: {error}")
        return Discrepancy("notice", entry.key, again, "", run=entry.run, person=False)
    return Discrepancy("notice", entry.key, f"{message}; sent again", "", mended=True, run=entry.run, person=False)
