"""What automations declare under `checks`, and does not hold."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from muster.errors import DatabaseLost, TransientError
from muster.events.lifecycle import CONTINUATIONS
from muster.execution.checking import broken_checks, is_due
from muster.language.definition import Definition
from muster.operations.reconciling.findings import LIMIT, Discrepancy, Scope
from muster.operations.reconciling.telling import tell_people
from muster.recovery.consistency import Violation


def ask_checks(
    scope: Scope,
    definitions: Iterable[Definition],
    *,
    artifacts: Path,
    site: Path | None,
    since: datetime | None = None,
) -> list[Discrepancy]:
    """What does not hold, told to the people that the automation names.

    Args:
        since: When somebody asked last: checks whose time has not come since then are left out. None asks all.

    Raises:
        TransientError: a skill, or the database, cannot be asked now and may be later. All others were asked, and
            what they found is told, unless it is the database.
    """
    found: list[Discrepancy] = []
    later: TransientError | None = None
    for definition in definitions:
        broken: list[Discrepancy] = []
        for check in definition.checks:
            if not is_due(check, since, scope.now):
                continue
            asked = broken_checks(
                definition, scope.database, artifacts=artifacts, site=site, now=scope.now, checks=[check]
            )
            try:
                broken += [_disagreement(definition, each) for each in scope.database.run(asked)]
            except DatabaseLost:
                raise
            except TransientError as error:
                # One bank that is away for a day says nothing of what others are asked.
                later = later or error
        if scope.mend:
            tell_people(scope, broken, definition)
        found += broken
    if later is not None:
        raise later
    return found


def has_recovered(scope: Scope, since: datetime) -> bool:
    """True when a run that was begun again has come to its end since then."""
    ended = scope.queries.settled_runs(since, scope.now, beyond=scope.beyond, limit=LIMIT)
    return any(next(scope.log.read(row.id, types=CONTINUATIONS), None) is not None for row in ended)


def _disagreement(definition: Definition, broken: Violation) -> Discrepancy:
    return Discrepancy(
        "check",
        f"{definition.name}/{broken.check}",
        broken.text,
        "Look at what it finds; `muster check` asks again.",
        # With other rows it is another finding; how many there are beside those shown changes too often.
        mark=sha256(broken.message.encode()).hexdigest()[:12],
    )
