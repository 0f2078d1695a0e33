"""Versions of Dag bundles: the files that runs were started from, kept for as long as a run may need them.

PostgreSQL is the source. What lies on a machine's disk is a cache, which Airflow empties and any machine can fill.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Collection, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from muster.database import Database
from muster.errors import MusterError, PermanentError
from muster.events.driver import Query, Rows, Work, run

Files = Mapping[str, bytes]
"""The content of a version's files, by their path below its folder."""

LARGEST = 32 * 2**20
"""Bytes of all files of a version together."""
_SUPERSEDED = "1 day"
"""How long a version is kept after the next one was published: Airflow may just be creating a run of it."""
_ENDED = ("succeeded", "failed", "compensated")
"""A run with one of these goes on only if Airflow still knows it, and then Airflow names its version."""


_OWN = (
    "SELECT clock_timestamp(), published_at, schedules FROM bundle_versions"
    " WHERE bundle = %(bundle)s AND version = %(version)s"
)
_BEFORE = (
    "SELECT published_at, schedules FROM bundle_versions WHERE bundle = %(bundle)s AND version <> %(version)s"
    " AND published_at < %(at)s AND jsonb_typeof(schedules) = 'object' ORDER BY published_at DESC, version DESC LIMIT 1"
)
_NOTE = (
    "UPDATE bundle_versions SET schedules = %(noted)s::jsonb WHERE bundle = %(bundle)s AND version = %(version)s"
    " AND coalesce(schedules, 'null') = %(known)s::jsonb RETURNING version"
)


class Scheduled(NamedTuple):
    """An automation's schedule, and since when it has that."""

    schedule: str
    since: datetime


class VersionGone(MusterError):
    """The database does not hold the version, or not as it was published: nothing is started from it."""


def version_of(files: Files) -> str:
    """The name of a version: 64 bits, in hexadecimal, of the SHA-256 of its files' names and hashes."""
    manifest = {path: sha256(content).hexdigest() for path, content in files.items()}
    return sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def is_version(text: str) -> bool:
    """True for a name that `version_of` may have given."""
    return re.fullmatch("[0-9a-f]{16}", text) is not None


class BundleStore:
    """The published versions in PostgreSQL, each whole in a row of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, bundle: str, files: Files, *, published_at: datetime | None = None) -> str:
        """Keep a version and return its name; it is the latest unless `published_at` says when it was that.

        A time to come counts as now: whatever is published after it is later.

        Raises:
            PermanentError: it is too large.
            TransientError: the database was lost.
        """
        ensure_size(sum(map(len, files.values())))
        version = version_of(files)
        # Publishing the same again heals a row that was changed by hand. The later time counts: files that were put
        # back as they had been are the latest version again.
        statement = (
            "INSERT INTO bundle_versions (bundle, version, content, published_at)"
            " VALUES (%(bundle)s, %(version)s, %(content)s, least(%(at)s, clock_timestamp()))"
            " ON CONFLICT (bundle, version) DO UPDATE SET content = EXCLUDED.content,"
            " published_at = greatest(bundle_versions.published_at, EXCLUDED.published_at)"
        )
        values = {"bundle": bundle, "version": version, "content": _packed(files), "at": published_at}
        run(self._database, _one(statement, values))
        return version

    def schedule(self, bundle: str, version: str, schedules: Mapping[str, str]) -> dict[str, Scheduled]:
        """Note the schedules of a version that was put, and return since when each automation has its own.

        An automation that has the schedule of the version noted before keeps its time. All who ask are told the same.

        Raises:
            VersionGone: the database does not hold the version.
            TransientError: the database was lost.
        """
        return run(self._database, _noted(bundle, version, schedules))

    def get(self, version: str) -> tuple[str, dict[str, bytes]]:
        """The bundle that published a version, and its files, which are those its name was made of.

        Raises:
            VersionGone: the database does not hold it, or holds something else in its place.
            TransientError: the database was lost.
        """
        statement = "SELECT bundle, content FROM bundle_versions WHERE version = %(version)s ORDER BY bundle LIMIT 1"
        rows = run(self._database, _one(statement, {"version": version}))
        if not rows:
            raise _gone(version)
        bundle, content = rows[0]
        try:
            files = _unpacked(content)
        # What somebody put here by hand may be no archive, an encrypted one, or one that grows too large: it is refused
        # below, as whatever does not fit the name.
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError, MusterError):
            files = {}
        if version_of(files) != version:
            raise VersionGone(
                f"What Muster's database holds as the bundle version {version} is not what was published.",
                remedy="Somebody changed the table `bundle_versions`: restore it from a backup.",
            )
        return bundle, files

    def versions(self, bundle: str) -> list[str]:
        """The versions of a bundle, the latest first."""
        statement = (
            "SELECT version FROM bundle_versions WHERE bundle = %(bundle)s ORDER BY published_at DESC, version DESC"
        )
        return [version for (version,) in run(self._database, _one(statement, {"bundle": bundle}))]

    def prune(self, bundle: str, keep: Collection[str]) -> list[str]:
        """Remove what nothing needs any more, and return it.

        What stays: the latest version, what was the latest within the last day, what a run needs that has not ended
        in the log, and the versions in `keep`.
        """
        statement = (
            "DELETE FROM bundle_versions old WHERE bundle = %(bundle)s AND NOT version = ANY(%(keep)s)"
            " AND EXISTS (SELECT FROM bundle_versions next WHERE next.bundle = old.bundle"
            " AND next.published_at > old.published_at"
            f" AND next.published_at < clock_timestamp() - interval '{_SUPERSEDED}')"
            " AND NOT EXISTS (SELECT FROM runs WHERE runs.bundle_version = old.version"
            " AND (runs.status IS NULL OR NOT runs.status = ANY(%(ended)s))) RETURNING version"
        )
        values = {"bundle": bundle, "keep": list(keep), "ended": list(_ENDED)}
        return [version for (version,) in run(self._database, _one(statement, values))]


def ensure_size(size: int) -> None:
    """Refuse a version of so many bytes when that is too much.

    Raises:
        PermanentError: it is.
    """
    if size > LARGEST:
        raise PermanentError(
            f"The automations, agents, skills and settings are {size / 2**20:.1f} MiB together,"
            f" and a version holds at most {LARGEST / 2**20:.0f} MiB.",
            remedy="Move data that stands among them into files of its own, elsewhere, or into the database.",
        )


def _gone(version: str) -> VersionGone:
    return VersionGone(
        f"Muster's database does not hold the bundle version {version}.",
        remedy="Restore the table `bundle_versions` from a backup, or start the run anew.",
    )


def _one(sql: str, values: Mapping[str, object]) -> Work[Rows]:
    return (yield [Query(sql, values)])[0]


def _noted(bundle: str, version: str, schedules: Mapping[str, str]) -> Work[dict[str, Scheduled]]:
    values: dict[str, object] = {"bundle": bundle, "version": version}
    while True:
        rows = (yield [Query(_OWN, values)])[0]
        if not rows:
            raise _gone(version)
        [(now, at, known)] = rows
        [(before_at, before)] = (yield [Query(_BEFORE, values | {"at": at})])[0] or [(None, {})]
        found: dict[str, Scheduled] = {}
        for name, schedule in schedules.items():
            own, earlier = _since(known, name, schedule), _since(before, name, schedule)
            # What was noted before another version took this one's place counts no more: the schedule has come back.
            kept = own if own is not None and (before_at is None or own > before_at) else None
            found[name] = Scheduled(schedule, earlier or kept or now)
        noted = {name: [each.schedule, each.since.isoformat()] for name, each in found.items()}
        if noted == known:
            return found
        values |= {"known": json.dumps(known), "noted": json.dumps(noted)}
        if (yield [Query(_NOTE, values)])[0]:
            return found
        # Somebody else has noted them at the same moment: theirs count.


def _since(noted: Any, name: str, schedule: str) -> datetime | None:
    if isinstance(noted, str):
        return datetime.fromisoformat(noted)
    said, since = (noted or {}).get(name, (None, None))
    return datetime.fromisoformat(since) if said == schedule else None


def _packed(files: Files) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            # With a time of its own, the same content gives the same bytes.
            archive.writestr(zipfile.ZipInfo(path), files[path], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        # Before anything is unpacked: an archive that somebody put here may grow without end.
        ensure_size(sum(entry.file_size for entry in entries))
        if any(PurePosixPath(entry.filename).is_absolute() or ".." in entry.filename.split("/") for entry in entries):
            raise ValueError("a file outside of the version")
        return {entry.filename: archive.read(entry) for entry in entries}
