"""New files in a watched folder: each is given to exactly one run, and none is lost on the way there."""

from __future__ import annotations

import fnmatch
import hashlib
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from urllib.parse import unquote, urlsplit

from muster.database import Database
from muster.errors import PermanentError, TransientError
from muster.files import site_path

SETTLED_AFTER = 2.0
"""Seconds since its last change after which a file counts as whole. Taken earlier, a file that is still being copied
would be given to a run in part."""


@dataclass(frozen=True)
class Arrival:
    """One file as it was when it was seen; the same name with other content is another arrival."""

    uri: str
    fingerprint: str

    def settles_in(self, now: float) -> float:
        """Seconds until the file counts as whole if nobody changes it any more; 0 or less once it does."""
        return int(self.fingerprint.rpartition("-")[2]) / 1e9 + SETTLED_AFTER - now


@dataclass(frozen=True)
class Watch:
    """A trigger that gives an automation the new files of a folder."""

    automation: str
    path: str
    """The folder."""
    input: str
    """The input of the automation that the files are given as."""
    inputs: tuple[str, ...]
    """The inputs that all watches of the automation give files as."""


@dataclass(frozen=True)
class LeftOver:
    """Files that were claimed for an automation and for which no run was started yet."""

    automation: str
    input: str | None
    """The input they were claimed for; None in rows from before inputs were recorded."""
    uris: tuple[str, ...]

    def is_for(self, watch: Watch, found: Sequence[Arrival]) -> bool:
        """True when this watch, which finds the files `found`, will start their run; the same choice as in `claim`."""
        if watch.automation != self.automation:
            return False
        folder, uris = _uri_of(watch), {arrival.uri for arrival in found}
        return self.input == watch.input or (
            self.input not in watch.inputs
            and any(uri in uris or uri.rpartition("/")[0] + "/" == folder for uri in self.uris)
        )

    @property
    def folders(self) -> list[str]:
        """The folders in which files of them still lie. Nobody waits for a file that is gone."""
        paths = [Path(unquote(urlsplit(uri).path)) for uri in self.uris if not uri.startswith(GONE)]
        return sorted({str(path.parent) for path in paths if path.exists()})


GONE = "forgotten:"
"""Prefix in the table that replaces the address of a file whose run was about a person who is forgotten."""
Digest = Callable[[str], str]
"""Returns a keyed hash of an address: what is stored in its place, by which the file is known when it is seen again."""


@dataclass(frozen=True)
class Batch:
    """Files that one run is given."""

    name: str
    """Follows from the files, so that a repeated request to start the run has the same run id."""
    uris: tuple[str, ...]


def look(
    path: str | PathLike[str],
    patterns: Sequence[str],
    *,
    now: float | None = None,
    tell: Callable[[str], object] = lambda _: None,
    also_growing: bool = False,
) -> list[Arrival]:
    """The settled files of the folder whose names match one of `patterns`, in the order of their names.

    Hidden files do not count. A relative path starts at the project's folder.

    Args:
        now: Seconds since the epoch; None for the present time.
        tell: Called with a sentence for each entry that is passed over because it cannot be looked at.
        also_growing: With those that are not settled yet, which are for nobody to take.

    Raises:
        TransientError: the folder cannot be read now; look again later.
        PermanentError: no folder can have this name; mend the trigger.
    """
    moment = time.time() if now is None else now
    folder = site_path(path)
    try:
        found = list(_regular(folder, patterns, tell))
    except OSError as error:
        raise TransientError(f"The folder {folder} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise PermanentError(
            f"The folder {str(folder)!r} cannot be watched: {error}.",
            remedy="Write the name of a folder as `path` of the `files` trigger, or in the setting that it names.",
        ) from error
    return [arrival for arrival in found if also_growing or arrival.settles_in(moment) <= 0]


def waiting(
    database: Database, automation: str, found: Sequence[Arrival], digest: Digest | None = None
) -> list[Arrival]:
    """The files among `found` that no run was started for."""
    with database.connection() as connection:
        rows = connection.execute(f"{_KNOWN} AND started_at IS NOT NULL", _asked(automation, found)).fetchall()
    return _unknown(found, set(rows), digest)


def claim(database: Database, watch: Watch, found: Sequence[Arrival], digest: Digest | None = None) -> list[Batch]:
    """Claim the new files in `found`, and return the batches to start a run for, with the watch's input.

    Batches that an earlier attempt claimed and did not start are returned as well. A file that several watches of the
    automation find is given to the one that claims it first. Call `started` once the run of a batch exists.
    """
    automation = watch.automation
    with database.connection() as connection:
        # One claim at a time for each automation: two at once would each claim some of the files that arrived together,
        # and split them into two runs.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"arrivals/{automation}",))
        new = _unknown(found, set(connection.execute(_KNOWN, _asked(automation, found)).fetchall()), digest)
        name = _name(new)
        with connection.cursor() as cursor:
            # The files are claimed, and committed with the name of their batch, before any run is asked for. A process
            # that goes on after a crash finds the same batch, and asks for a run with the same id.
            cursor.executemany(
                "INSERT INTO arrivals (automation, uri, fingerprint, batch, input) VALUES (%s, %s, %s, %s, %s)",
                [(automation, arrival.uri, arrival.fingerprint, name, watch.input) for arrival in new],
            )
        given = {
            "automation": automation,
            "input": watch.input,
            "inputs": list(watch.inputs),
            "found": [arrival.uri for arrival in found],
            "folder": _uri_of(watch),
        }
        rows = connection.execute(_UNSTARTED, given).fetchall()
    return [Batch(batch, tuple(uris)) for batch, uris in rows]


def left_over(database: Database, watches: Mapping[Watch, Sequence[Arrival]]) -> list[LeftOver]:
    """Files without a run that no watch will start one for, because their trigger was removed since they were claimed.

    Args:
        watches: All watches, each with the files it finds now.
    """
    with database.connection() as connection:
        rows = connection.execute(_LEFT).fetchall()
    left = [LeftOver(automation, given, tuple(uris)) for automation, given, uris in rows]
    return [files for files in left if files.folders and not any(files.is_for(*watch) for watch in watches.items())]


def started(database: Database, automation: str, batch: Batch) -> None:
    """Record that the run of the batch exists: it is not offered again."""
    with database.connection() as connection:
        connection.execute(
            "UPDATE arrivals SET started_at = clock_timestamp() WHERE automation = %s AND batch = %s",
            (automation, batch.name),
        )


# A run ignores an input that it does not declare. So a batch whose input was renamed, or is from before inputs were
# recorded, goes to the watch of its folder, with that watch's input; under the old one the run would see no files.
_UNSTARTED = """
SELECT batch, array_agg(uri ORDER BY uri) FROM arrivals WHERE automation = %(automation)s AND started_at IS NULL
 GROUP BY batch
HAVING min(input) = %(input)s
    OR (min(input) IS NULL OR min(input) <> ALL(%(inputs)s))
       AND bool_or(uri = ANY(%(found)s) OR regexp_replace(uri, '[^/]*$', '') = %(folder)s)
 ORDER BY min(arrived_at), batch
"""
_LEFT = """
SELECT automation, min(input), array_agg(uri ORDER BY uri) FROM arrivals WHERE started_at IS NULL
 GROUP BY automation, batch ORDER BY automation, min(arrived_at), batch
"""
_KNOWN = """
SELECT uri, fingerprint FROM arrivals WHERE automation = %s
   AND (uri = ANY(%s) OR (starts_with(uri, 'forgotten:') AND fingerprint = ANY(%s)))
"""


def _uri_of(watch: Watch) -> str:
    return f"{site_path(watch.path).resolve().as_uri()}/"


def _asked(automation: str, found: Sequence[Arrival]) -> tuple[str, list[str], list[str]]:
    return automation, [arrival.uri for arrival in found], [arrival.fingerprint for arrival in found]


def _unknown(found: Sequence[Arrival], known: set[tuple[str, str]], digest: Digest | None) -> list[Arrival]:
    """The files that were not claimed yet."""
    # The hash needs a key, which is not asked for without need: only a file with the fingerprint of a forgotten one is
    # hashed.
    forgotten = {fingerprint for uri, fingerprint in known if uri.startswith(GONE)}
    return [
        arrival
        for arrival in found
        if (arrival.uri, arrival.fingerprint) not in known
        and not (
            arrival.fingerprint in forgotten
            and digest is not None
            and (GONE + digest(arrival.uri), arrival.fingerprint) in known
        )
    ]


def _regular(folder: Path, patterns: Sequence[str], tell: Callable[[str], object]) -> Iterator[Arrival]:
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns):
            continue
        try:
            status = file.stat()
            # Resolve links: a file that two watches reach by different paths would otherwise be claimed twice.
            uri = file.resolve().as_uri()
        except OSError as error:
            # A file that was removed after the folder was listed is no error. A link whose target is gone is one.
            if not isinstance(error, FileNotFoundError) or file.is_symlink():
                tell(f"{file} starts no run, because it cannot be looked at: {error.strerror}.")
            continue
        if stat.S_ISREG(status.st_mode):
            yield Arrival(uri, f"{status.st_size}-{status.st_mtime_ns}")


def _name(arrivals: Sequence[Arrival]) -> str:
    text = "\n".join(f"{arrival.uri} {arrival.fingerprint}" for arrival in arrivals)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
