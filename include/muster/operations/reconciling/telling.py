"""Tells people, once for each discrepancy, what the reconciler cannot mend or has given up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from muster.errors import MusterError, TransientError
from muster.events.model import EventType
from muster.events.state import fold
from muster.language.definition import Definition
from muster.notifications.addressing import addressed, report
from muster.notifications.outbox import Outbox
from muster.operations.reconciling.findings import Discrepancy, Scope
from muster.saga.incidents import NOBODY, incident_places

LONGEST_KEY = 900
"""Characters: a notice's key has 1,000 at most, and the number of the place follows."""


def tell_people(scope: Scope, found: Iterable[Discrepancy], about: Definition | None = None) -> None:
    """Send one notice to each place of the automation's `incidents`; a notice that cannot be sent stays in the outbox.

    If none of these addresses is valid, the common channel is told.

    Args:
        found: Those that were told already, or need nobody, are passed over.
        about: The automation of discrepancies that belong to no run.
    """
    for discrepancy in found:
        if scope.send is None or not discrepancy.person or discrepancy.told:
            continue
        wanted = _notices(discrepancy, incident_places(_definition(scope, discrepancy.run) or about))
        about_somebody = _is_about_somebody(scope, discrepancy.run)
        notices, faults = addressed(wanted, otherwise=NOBODY, about_somebody=about_somebody)
        # All notices are recorded before the first is sent: one place in the outbox counts as told, so a process that
        # dies after the first notice would leave the other places untold for good.
        try:
            Outbox(scope.database).plan(notices)
        except MusterError as error:
            # No notice is in the outbox, so the next pass finds the discrepancy untold, and tells people then.
            faults |= {notice.key: error for notice in notices}
            notices = []
        for notice in notices:
            try:
                scope.send(notice)
            except Exception as error:
                faults[notice.key] = error
        report(faults)


def _notices(found: Discrepancy, places: Iterable[tuple[str, str]]) -> Iterator[dict[str, object]]:
    text = f"{found.kind} {found.subject}: {found.message}\n{found.remedy}".strip()
    subject = f"Muster found: {found.kind} {found.subject}"[:200]
    for number, (channel, target) in enumerate(places):
        key = f"{found.key[:LONGEST_KEY]}/{number}"
        yield {"run": found.run, "key": key, "channel": channel, "target": target, "subject": subject, "text": text}


def _is_about_somebody(scope: Scope, run: str | None) -> bool:
    """True if the run is about a person, and also if its log cannot say, so that people are told without its words."""
    try:
        return run is not None and scope.log.subject(run) is not None
    except MusterError:
        return True


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
