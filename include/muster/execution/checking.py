"""Asks what an automation declares under `checks`: queries, and skills that look."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from muster.database import Database
from muster.errors import MusterError, TransientError
from muster.execution.services import readable, workspace_of
from muster.language.definition import Definition, ResolvedCheck
from muster.recovery.consistency import Violation, shown, unasked, violations
from muster.skills.calling import call_skill
from muster.skills.registry import SkillContext, get_skill

LONGEST_WAIT = 300.0
"""Seconds that a check's skill may take which has no `timeout` of its own: all looking after runs waits for it."""

QUARTERLY = {"@quarterly": "0 0 1 */3 *"}
"""What Airflow knows and the reader of schedules does not."""


async def broken_checks(
    definition: Definition,
    database: Database,
    *,
    artifacts: Path,
    site: Path | None,
    now: datetime,
    checks: Iterable[ResolvedCheck] | None = None,
) -> list[Violation]:
    """What does not hold, of all checks of an automation or of some.

    Args:
        artifacts: Below it, the skills' workspace.
        site: Folder of the site's own skills.

    Raises:
        TransientError: a skill, or the database, cannot be asked now and may be later.
    """
    found: list[Violation] = []
    for check in definition.checks if checks is None else checks:
        if check.skill is None:
            found += violations(database, [check])
        else:
            found += await _ask(check, check.skill, site, _context(definition, check, database, artifacts, now))
    return found


def is_due(check: ResolvedCheck, since: datetime | None, now: datetime) -> bool:
    """True when the check's time came after `since`, the last time anybody asked; a check without times is always."""
    from croniter import croniter  # type: ignore[import-untyped]

    if check.schedule is None or since is None:
        return True
    times = croniter(QUARTERLY.get(check.schedule, check.schedule), now.astimezone(UTC))
    return bool(times.get_prev(datetime) > since)


async def _ask(check: ResolvedCheck, name: str, site: Path | None, context: SkillContext) -> list[Violation]:
    limit = asyncio.timeout(None)
    try:
        skill = get_skill(name, site)
        async with limit:
            if skill.timeout is None:
                limit.reschedule(asyncio.get_running_loop().time() + LONGEST_WAIT)
            answer = await call_skill(skill, check.arguments, context)
    except TransientError:
        raise
    except TimeoutError as error:
        late = f"{name} takes longer than {LONGEST_WAIT:g} s"
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
        # Each time it is asked is other work than the time before.
        key=f"{run}/{check.name}@{now.isoformat()}",
        now=now,
        database=database,
        workspace=workspace,
        settings=definition.settings,
        documents=readable(definition, [workspace]),
    )
