"""Forgets a person by throwing their key away: all that was sealed under it is unreadable, in every run and backup."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from muster.approvals.escalation import NOBODY as PEOPLE
from muster.database import Database
from muster.errors import MusterError
from muster.events import keys
from muster.events.failures import database_failures
from muster.events.log import EventLog
from muster.events.payloads.runs import SubjectForgotten
from muster.events.personal import RUNS_ABOUT, Vault, as_known
from muster.events.queries import Queries
from muster.execution.workspaces import earlier_workspace_of, workspace_of
from muster.language.channels import COMMON
from muster.operations.unanswered import OF_A_WAITING_STEP
from muster.saga.incidents import NOBODY as INCIDENTS
from muster.triggers.arrivals import GONE

_FIND = """
SELECT id, forgotten_at FROM subjects
WHERE id = %(id)s OR split_part(id, '.', 1) = ANY(%(ids)s) ORDER BY id
"""
# A notice that was not sent yet is never sent. A sender that has claimed one this moment has its text already and still
# sends it; it then settles a row without text.
_UNSENT = f"""
UPDATE outbox SET status = 'kept', delivered_by = 'nobody', reference = 'outbox/' || id, claimed_until = NULL,
    note = 'not sent, because whom it is about was forgotten', settled_at = clock_timestamp()
WHERE run IN ({RUNS_ABOUT}) AND status IN ('pending', 'failed') AND NOT key LIKE '%%/{keys.WITHOUT}'
"""
# A notice without personal words takes the place of each question that was withdrawn. The log says that people were
# asked, so nobody looks again: without this notice their silence would count as a rejection.
_UNASKED = f"""
INSERT INTO outbox (key, run, channel, target, subject, text, status, attempts, claimed_until)
SELECT DISTINCT
    outbox.run || '/' || step || substring(key FROM '@[0-9]+/') || '{keys.WITHOUT}', outbox.run, '{COMMON}', '{PEOPLE}',
    'A question waits', format(
    'Step %%s of run %%s waits for an answer, and not everybody was told of it: whom it is about was forgotten'
    ' before.%%s`muster show %%s` tells who is asked and until when.', step, outbox.run, chr(10), outbox.run),
    'pending', 0, clock_timestamp()
FROM outbox JOIN steps ON {OF_A_WAITING_STEP}
WHERE outbox.run IN ({RUNS_ABOUT}) AND delivered_by = 'nobody' AND key ~ '{keys.OF_A_QUESTION}'
ON CONFLICT (key) DO NOTHING
"""
# The same for deadlines: the log says that people were told, so nobody looks again.
_LATE = f"""
INSERT INTO outbox (key, run, channel, target, subject, text, status, attempts, claimed_until)
SELECT DISTINCT regexp_replace(key, '/notice/[0-9]+$', '/{keys.WITHOUT}'), run, '{COMMON}', '{INCIDENTS}',
    'A run is late', format('Run %%s had not finished by its deadline, and not everybody was told of it:'
    ' whom it is about was forgotten before.', run), 'pending', 0, clock_timestamp()
FROM outbox WHERE run IN ({RUNS_ABOUT}) AND delivered_by = 'nobody' AND key ~ '/deadline/[^/]+/notice/[0-9]+$'
ON CONFLICT (key) DO NOTHING
"""
# A person may have written into the note why one was discarded.
_NOTICES = f"""
UPDATE outbox SET text = '[forgotten]', subject = '', target = '[forgotten]', error = NULL,
    note = CASE delivered_by WHEN 'nobody' THEN note ELSE '' END
WHERE run IN ({RUNS_ABOUT}) AND text <> '[forgotten]' AND NOT key LIKE '%%/{keys.WITHOUT}'
"""
# Sealed since effects are; those of earlier versions were not.
_EFFECTS = f'UPDATE effects SET result = \'{{"$forgotten": ""}}\', error = NULL WHERE run IN ({RUNS_ABOUT})'
# What agents told each other. One that nobody has received yet is not handed out any more.
_MESSAGES = f"""
UPDATE messages SET body = '{{"$forgotten": ""}}', error = NULL, is_taken = false,
    status = CASE status WHEN 'acknowledged' THEN status WHEN 'posted' THEN status ELSE 'expired' END,
    settled_at = coalesce(settled_at, clock_timestamp())
WHERE run IN ({RUNS_ABOUT})
"""
# What stood on blackboards. The rows stay, so that nobody who has seen an earlier version writes over them unseen.
_BLACKBOARD = f"""
UPDATE blackboard SET value = '{{"$forgotten": ""}}' WHERE run IN ({RUNS_ABOUT}) AND value IS NOT NULL
"""
# The name of a file may say whom it is about, so a keyed hash replaces it: the file is known when it is seen again, and
# no second run is started for it.
_ARRIVALS = f"""
SELECT automation, uri, fingerprint FROM arrivals
WHERE automation || '/files__' || batch IN ({RUNS_ABOUT}) AND NOT starts_with(uri, '{GONE}')
"""
_ARRIVAL = """
UPDATE arrivals SET uri = %(gone)s WHERE automation = %(automation)s AND uri = %(uri)s AND fingerprint = %(mark)s
"""
# Breakers of earlier versions kept the words of errors. A breaker belongs to no run, so all of them lose the words.
_BREAKERS = "UPDATE breakers SET error = split_part(error, ':', 1) WHERE error LIKE '%:%'"
_KEYS = """
UPDATE subjects SET wrapped_key = NULL, forgotten_at = clock_timestamp()
WHERE id = ANY(%(ids)s) AND forgotten_at IS NULL
"""


@dataclass(frozen=True)
class Forgotten:
    """The result of forgetting a person."""

    subject: str
    """The id that stands for the person in the log."""
    runs: int
    """Runs whose personal data nobody can read any more, since now or, where `before` says so, since then."""
    notices: int
    """Notices of these runs whose text was removed from the outbox."""
    unsent: int = 0
    """Notices among them that were still to be sent, and are not."""
    folders: int = 0
    """Folders of these runs' own files that were deleted."""
    before: datetime | None = None
    """When they were forgotten already, and this removed what had come since; None where a key was thrown away."""


def find_subject(database: Database, vault: Vault, subject: str) -> dict[str, datetime | None]:
    """The ids of a person's keys, by name, or by the id that stands in the log, and when each was forgotten.

    Raises:
        MusterError: there is no such person.
    """
    with database_failures(), database.connection() as connection:
        # Earlier versions knew people by their names as they were typed.
        ids = [subject, *(vault.name_id(name) for name in (subject, as_known(subject)))]
        rows = connection.execute(_FIND, {"id": subject, "ids": ids}).fetchall()
    if not rows:
        raise MusterError(
            f"There is no personal data of {subject!r}, so nothing was changed.",
            remedy="Write the name as the automation's `personal.subject` gives it, or the id from the log.",
        )
    return dict(rows)


def forget(database: Database, vault: Vault, subject: str, *, by: str, artifacts: Path | None = None) -> Forgotten:
    """Throw a person's key away, and remove the data that their runs left outside the log. It cannot be undone.

    Call it again once the attempts that were under way have ended: they may have left files.

    Args:
        artifacts: The folder that holds the runs' own; None where this machine has none.

    Raises:
        MusterError: there is no such person; nothing was changed.
    """
    subjects = find_subject(database, vault, subject)
    ids, new = list(subjects), [id for id, forgotten_at in subjects.items() if forgotten_at is None]
    _write_down(database, new, by)
    given = {"ids": ids}
    with database.connection() as connection:
        runs = [run for (run,) in connection.execute(RUNS_ABOUT, given)]
        told = connection.execute(RUNS_ABOUT, {"ids": new or ids}).rowcount
    # Delete files before the key: if this process dies in between, the person is not forgotten yet, and whoever calls
    # again does all of it.
    folders = [] if artifacts is None else [folder for run in runs for folder in _folders(database, artifacts, run)]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    with database.connection() as connection, connection.transaction():
        # The rows in `subjects` come first, because claiming a notice locks them. A claim that was earlier has its
        # notice in the outbox before this goes on; a later one finds no key and writes nothing.
        connection.execute(_KEYS, given)
        for automation, uri, fingerprint in connection.execute(_ARRIVALS, given).fetchall():
            gone = GONE + vault.name_id(uri)
            connection.execute(_ARRIVAL, {"gone": gone, "automation": automation, "uri": uri, "mark": fingerprint})
        unsent = connection.execute(_UNSENT, given).rowcount
        connection.execute(_UNASKED, given)
        connection.execute(_LATE, given)
        notices = connection.execute(_NOTICES, given).rowcount
        connection.execute(_EFFECTS, given)
        connection.execute(_MESSAGES, given)
        connection.execute(_BLACKBOARD, given)
        connection.execute(_BREAKERS)
    before = None if new else max(at for at in subjects.values() if at is not None)
    return Forgotten(ids[0].partition(".")[0], told, notices, unsent, len(folders), before)


def _folders(database: Database, artifacts: Path, run: str) -> list[Path]:
    """The folders with a run's own files, as far as they exist."""
    folders = [workspace_of(artifacts, run)]
    if Queries(database).is_from_before_server_epochs(run):
        folders.append(earlier_workspace_of(artifacts, run))
    return [folder for folder in folders if folder.is_dir()]


def _write_down(database: Database, ids: Sequence[str], by: str) -> None:
    """Write `subject.forgotten` before anything is removed, so that nothing goes without an event.

    The key makes it one event for each subject, also if the call is repeated after a crash.
    """
    log = EventLog(database)
    for id in ids:
        log.append(f"subjects/{id}", [SubjectForgotten(subject=id).event(actor=by, key="forgotten")])
