"""Makes the projections new from the log, while others go on appending."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from muster.database import Database
from muster.events.driver import Query, Work, run
from muster.events.facts import FACT_COLUMNS, to_fact
from muster.events.projections import PROJECTED, RUNS, STEPS, Change, as_parameter, changes
from muster.events.statements import BEGIN, COMMIT
from muster.events.verification import listing

STREAMS_AT_ONCE = 200
"""Streams whose appends wait while theirs is the batch being rebuilt."""

_PAGE = 5_000


def rebuild(database: Database) -> None:
    """Derive every row of `runs` and `steps` anew; readers see each run's old rows or its new ones."""
    after = ""
    while names := run(database, listing(after)):
        for start in range(0, len(names), STREAMS_AT_ONCE):
            run(database, _rebuild(names[start : start + STREAMS_AT_ONCE]))
        after = names[-1]
    run(database, _remove_strangers())


def _rebuild(streams: Sequence[str]) -> Work[None]:
    among = {"streams": list(streams)}
    yield [
        BEGIN,
        # In one order, so that two rebuilds at once cannot deadlock.
        Query(
            "SELECT pg_advisory_xact_lock(gate) FROM"
            " (SELECT hashtextextended(s, 0) AS gate FROM unnest(%(streams)s::text[]) s ORDER BY 1) gates",
            among,
        ),
        Query("DELETE FROM runs WHERE id = ANY(%(streams)s::text[])", among),
        Query("DELETE FROM steps WHERE run = ANY(%(streams)s::text[])", among),
    ]
    stream, version = "", 0
    while True:
        found = yield [
            Query(
                f"SELECT {FACT_COLUMNS} FROM events"
                " WHERE stream = ANY(%(streams)s::text[]) AND (stream, version) > (%(stream)s, %(version)s)"
                " AND type = ANY(%(types)s::text[]) ORDER BY stream, version LIMIT %(limit)s",
                {**among, "stream": stream, "version": version, "types": PROJECTED, "limit": _PAGE},
            )
        ]
        if rows := found[0]:
            yield _upserts(rows)
            stream, version = rows[-1][:2]
        if len(rows) < _PAGE:
            break
    yield [COMMIT]


def _upserts(rows: Sequence[tuple[Any, ...]]) -> list[Query]:
    runs: list[Change] = []
    steps: list[Change] = []
    for stream, of_stream in groupby(rows, key=lambda row: row[0]):
        facts = [to_fact(row) for row in of_stream]
        run_changes, step_changes = changes(stream, facts)
        runs += run_changes
        steps += step_changes
    return [
        Query(RUNS.upsert("changes"), {"changes": as_parameter(runs)}),
        Query(STEPS.upsert("changes"), {"changes": as_parameter(steps)}),
    ]


def _remove_strangers() -> Work[None]:
    yield [
        Query("DELETE FROM runs WHERE NOT EXISTS (SELECT FROM events WHERE stream = runs.id)"),
        Query("DELETE FROM steps WHERE NOT EXISTS (SELECT FROM events WHERE stream = steps.run)"),
    ]
