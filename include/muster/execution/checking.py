"""Asks the `checks` that an automation declares: queries, and skills that look for violations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from muster.database import Database
from muster.errors import MusterError, TransientError
from muster.execution.workspaces import readable, workspace_of
from muster.language.definition import Definition, ResolvedCheck
from muster.recovery.consistency import Violation, shown, unasked, violations
from muster.redaction import redact
from muster.skills.registry import SkillContext, get_skill

LONGEST_WAIT = 300.0
"""Seconds that a check's skill without a `timeout` of its own may take: the reconciler waits for it."""

QUARTERLY = {"@quarterly": "0 0 1 */3 *"}
"""Presets that Airflow knows and `croniter` does not."""


async def broken_checks(
    definition: Definition,
    database: Database,
    *,
    artifacts: Path,
    site: Path | None,
    now: datetime,
    checks: Iterable[ResolvedCheck] | None = None,
) -> list[Violation]:
    """The violations of an automation's checks.

    Args:
        artifacts: The folder under which the skills have their workspace.
        site: The folder of the site's own skills.
        checks: The checks to ask; None for all.

    Raises:
        TransientError: a skill or the database cannot be asked now; ask again later.
    """
    broken: list[Violation] = []
    for check in definition.checks if checks is None else checks:
        if check.skill is None:
            # In a thread: while it took its time on the event loop, a skill beside it would seem to take too long.
            broken += await asyncio.to_thread(violations, database, [check])
        else:
            broken += await _ask(check, check.skill, site, _context(definition, check, database, artifacts, now))
    # The words are those of a skill, or of rows: they go to people's terminals and into the logs of tasks.
    return [replace(violation, message=redact(violation.message)) for violation in broken]


def is_due(check: ResolvedCheck, since: datetime | None, now: datetime) -> bool:
    """True when the check's schedule had a time after `since`, when it was last asked; always without a schedule."""
    from croniter import croniter  # type: ignore[import-untyped]

    if check.schedule is None or since is None:
        return True
    times = croniter(QUARTERLY.get(check.schedule, check.schedule), now.astimezone(UTC))
    return bool(times.get_prev(datetime) > since)


async def _ask(check: ResolvedCheck, name: str, site: Path | None, context: SkillContext) -> list[Violation]:
    # Imported here: it brings leases and the ledger along, and most checks are queries.
    from muster.skills.calling import call_skill

    limit, longest = asyncio.timeout(None), LONGEST_WAIT
    try:
        skill = get_skill(name, site)
        longest = longest if skill.timeout is None else skill.timeout
        async with limit:
            limit.reschedule(asyncio.get_running_loop().time() + longest)
            # Not under a timeout of its own: that is an error that passes, so a skill that never comes back would be
            # asked again and again, and nobody be told.
            answer = await call_skill(replace(skill, timeout=None), check.arguments, context)
    except TransientError:
        raise
    except TimeoutError as error:
        late = f"{name} takes longer than {longest:g} s"
        return [unasked(check.name, late if limit.expired() else f"TimeoutError: {error}")]
    except MusterError as error:
        return [Violation(check.name, error.message)]
    except Exception as error:
        return [unasked(check.name, f"{type(error).__name__}: {error}")]
    return [] if _holds(answer) else [_said(check.name, answer)]


def _holds(answer: object) -> bool:
    return answer is None or answer is True or answer in ([], {}, "")


def _said(name: str, answer: object) -> Violation:
    if answer is False:
        return Violation(name, "it does not hold")
    return shown(name, answer if isinstance(answer, list) else [answer])


def _context(
    definition: Definition, check: ResolvedCheck, database: Database, artifacts: Path, now: datetime
) -> SkillContext:
    run = f"check/{definition.name}"
    workspace = workspace_of(artifacts, run)
    workspace.mkdir(parents=True, exist_ok=True)
    return SkillContext(
        run=run,
        step=check.name,
        # The time is part of the key: each check is new work, and an effect of the last one must not stand for this
        # one.
        key=f"{run}/{check.name}@{now.isoformat()}",
        now=now,
        database=database,
        workspace=workspace,
        settings=definition.settings,
        documents=readable(definition, [workspace]),
    )
