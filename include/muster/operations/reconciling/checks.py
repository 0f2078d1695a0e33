"""Broken checks: statements that automations declare under `checks` and that do not hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from muster.errors import TransientError
from muster.events.failures import database_failures
from muster.events.lifecycle import CONTINUATIONS
from muster.execution.checking import broken_checks, is_due
from muster.language.definition import Definition, ResolvedCheck
from muster.operations.reconciling.findings import LIMIT, Discrepancy, Scope
from muster.operations.reconciling.telling import tell_people
from muster.recovery.consistency import Violation
from muster.redaction import redact

SILENT = timedelta(days=1)
"""How long a check may give no answer, for reasons that may pass, until people are told."""

# A machine whose clock was ahead may have written a time that has yet to come.
UNANSWERED = """
INSERT INTO unanswered_checks AS known (name, since) VALUES (%(name)s, %(now)s)
ON CONFLICT (name) DO UPDATE SET since = least(known.since, EXCLUDED.since) RETURNING since
"""


def ask_checks(
    scope: Scope,
    definitions: Iterable[Definition],
    *,
    artifacts: Path,
    site: Path | None,
    since: datetime | None = None,
) -> list[Discrepancy]:
    """Ask the checks that are due, tell people of the broken ones, and return those.

    Args:
        since: When checks were asked last; checks that were not due since then are left out. None asks all.

    Raises:
        TransientError: a skill or the database gives no answer now; ask again later. If it was a skill, all other
            checks were asked and people told, also of those that have given no answer for a day; if the database
            is away, nobody was told of the rest.
    """
    discrepancies: list[Discrepancy] = []
    unanswered: list[str] = []
    later: TransientError | None = None
    due = [(each, [check for check in each.checks if is_due(check, since, scope.now)]) for each in definitions]
    answers = iter(scope.database.run(_answers(scope, due, artifacts, site)))
    for definition, checks in due:
        broken: list[Discrepancy] = []
        for check in checks:
            answer = next(answers)
            if isinstance(answer, TransientError):
                # Go on with the other checks: one bank that is away for a day, or one query that costs its connection
                # each time, must not keep people from being told of them. The error is raised at the end. If the
                # database is away, `_first_asked` raises.
                later = later or answer
                unanswered.append(name := f"{definition.name}/{check.name}")
                asked_at = _first_asked(scope, name)
                if scope.now - asked_at >= SILENT:
                    broken.append(_silent(name, asked_at, answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                broken += [_disagreement(definition, violation) for violation in answer]
        if scope.mend:
            tell_people(scope, broken, definition)
        discrepancies += broken
    _end_silences(scope, unanswered)
    if later is not None:
        raise later
    return discrepancies


async def _answers(
    scope: Scope, due: Iterable[tuple[Definition, list[ResolvedCheck]]], artifacts: Path, site: Path | None
) -> list[list[Violation] | BaseException]:
    """What each check answers, or why it does not, in their order."""
    # Queries one after the other: they share few connections, and the server stops those that take too long.
    line = asyncio.Lock()

    async def ask(definition: Definition, check: ResolvedCheck) -> list[Violation]:
        async with nullcontext() if check.sql is None else line:
            return await broken_checks(
                definition, scope.database, artifacts=artifacts, site=site, now=scope.now, checks=[check]
            )

    # Skills at the same time, each in a thread of its own: several that hang take no longer than one.
    asked = (ask(definition, check) for definition, checks in due for check in checks)
    return await asyncio.gather(*asked, return_exceptions=True)


def has_recovered(scope: Scope, since: datetime) -> bool:
    """True when a run that was begun again has ended since then: its checks may hold now."""
    ended = scope.queries.settled_runs(since, scope.now, beyond=scope.beyond, limit=LIMIT)
    return any(next(scope.log.read(row.id, types=CONTINUATIONS), None) is not None for row in ended)


def _first_asked(scope: Scope, name: str) -> datetime:
    """When the check was first asked of the times in a row that it has given no answer."""
    if not scope.mend:
        return scope.now
    with database_failures(), scope.database.connection() as connection:
        row: tuple[datetime] | None = connection.execute(UNANSWERED, {"name": name, "now": scope.now}).fetchone()
    assert row is not None, "the statement gives back the row that it writes"
    return row[0].astimezone(UTC)


def _end_silences(scope: Scope, unanswered: list[str]) -> None:
    """Forget since when the others gave no answer: they have given one, or are asked no more."""
    if scope.mend:
        with database_failures(), scope.database.connection() as connection:
            connection.execute("DELETE FROM unanswered_checks WHERE NOT name = ANY(%s)", (unanswered,))


def _silent(name: str, since: datetime, error: TransientError) -> Discrepancy:
    return Discrepancy(
        "check",
        name,
        redact(f"it has given no answer since it was asked at {since:%Y-%m-%d %H:%M} UTC: {error.message}"),
        "Mend what it asks; `muster check` asks again.",
        # Once for each silence: the next one has another beginning.
        mark=f"silent/{since:%Y%m%dT%H%M%S}",
    )


def _disagreement(definition: Definition, broken: Violation) -> Discrepancy:
    return Discrepancy(
        "check",
        f"{definition.name}/{broken.check}",
        broken.text,
        "Look at what it finds; `muster check` asks again.",
        # People are told once for each mark. Other rows make a new mark; the count of rows that are not shown does not,
        # because it changes at every look.
        mark=sha256(broken.message.encode()).hexdigest()[:12],
    )
