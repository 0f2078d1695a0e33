"""Tells people, once for each thing, what the reconciler cannot mend or has given up."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from muster.errors import MusterError, TransientError
from muster.events.model import EventType
from muster.events.state import fold
from muster.language.definition import Definition
from muster.notifications.model import Notice
from muster.operations.reconciling.findings import Disagreement, Scope
from muster.saga.incidents import incident_places

log = logging.getLogger(__name__)

LONGEST_KEY = 900


def tell_people(scope: Scope, found: Iterable[Disagreement], about: Definition | None = None) -> None:
    """One notice to each place of the automation's `incidents`; one that cannot be sent stays in the outbox.

    Args:
        about: The automation of what belongs to no run.
    """
    for each in found:
        if scope.send is None or not each.person or each.told:
            continue
        for number, (channel, target) in enumerate(incident_places(_definition(scope, each.run) or about)):
            text = f"{each.kind} {each.subject}: {each.message}\n{each.remedy}".strip()
            subject = f"Muster found: {each.kind} {each.subject}"[:200]
            key = f"{each.key[:LONGEST_KEY]}/{number}"
            try:
                scope.send(Notice(run=each.run, key=key, channel=channel, target=target, subject=subject, text=text))
            except Exception as error:
                # Not in words: what a mail server says repeats whom it was for, and the outbox has it.
                log.error("A notice could not be sent (%s); it is in the outbox as %s", type(error).__name__, key)


def _definition(scope: Scope, run: str | None) -> Definition | None:
    if run is None:
        return None
    state = fold(scope.log.read(run, types=[EventType.RUN_OPENED]))
    try:
        return scope.definition(state.definition) if state.definition is not None else None
    except TransientError:
        raise
    except MusterError:
        return None
