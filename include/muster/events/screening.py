"""Checks many streams against their hashes at once: all in the server, and here again those that look wrong there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from muster.database import Database
from muster.errors import MusterError, TransientError
from muster.events.driver import Query, Work, run
from muster.events.verification import Fault, verifying

# What `muster.events.canonical.event_hash` does, in SQL. Where the two disagree `event_hash` is right: a stream that is
# odd here is checked again with it. Where in its data an event names its step is checked only roughly.
_ODD = """
SELECT DISTINCT stream FROM (
    SELECT *, lag(version) OVER before AS version_before, lag(position) OVER before AS position_before,
           lag(hash) OVER before AS hash_before FROM events WHERE stream = ANY(%(streams)s::text[])
    WINDOW before AS (PARTITION BY stream ORDER BY version)
) AS event
WHERE version <> coalesce(version_before, 0) + 1
   OR position <= position_before
   OR previous_hash <> coalesce(hash_before, decode(repeat('00', 32), 'hex'))
   OR (step = '') <> (strpos(data::text, '"step":"') = 0)
   OR strpos(data::text, '"step":' || to_json(step)) = 0 AND step <> ''
   OR hash IS DISTINCT FROM sha256(convert_to(
        '["' || encode(previous_hash, 'hex') || '",' || to_json(stream) || ',' || version || ',"' || id || '","'
        || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '+00:00",' || to_json(type) || ','
        || coalesce(to_json(key)::text, 'null') || ',' || to_json(actor) || ',' || to_json(correlation) || ','
        || coalesce('"' || causation || '"', 'null') || ']' || chr(10) || data::text, 'UTF8'))
"""


def odd(streams: Sequence[str]) -> Work[list[str]]:
    """The streams that may have a fault, large values left aside; `faults_of` tells whether they have one."""
    return sorted(row[0] for row in (yield [Query(_ODD, {"streams": list(streams)})])[0])


def faults_of(database: Database, streams: Iterable[str]) -> list[Fault]:
    """The first fault of each of these streams that has one."""
    return [fault for stream in streams if (fault := _fault(database, stream)) is not None]


def _fault(database: Database, stream: str) -> Fault | None:
    try:
        return run(database, verifying(stream))
    except TransientError:
        raise
    except MusterError as error:
        # A time that no calendar here has, for example: what cannot be read is not what was written.
        return Fault(stream, 1, "altered", f"its events cannot be read: {error.message}")
