"""Makes the projections new from the log, while others go on appending.

Run by run, not in shadow tables: rows are derived without a lock, then each small group of runs is swapped in one
transaction that first takes in what was appended meanwhile. A run whose log was tampered with keeps the rows it has:
what was forged must not look like what happened. `docs/decisions/0009-replay-and-checkpoints.md` says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from muster.database import Database
from muster.events.deriving import Derived, writing
from muster.events.driver import Query, Work, run
from muster.events.facts import FACT_COLUMNS, to_fact
from muster.events.projections import PROJECTED
from muster.events.screening import faults_of, odd
from muster.events.statements import BEGIN, COMMIT
from muster.events.verification import Fault, listing, strangers

STREAMS_AT_ONCE = 200
"""Streams whose rows are derived together."""

ROWS_AT_ONCE = 500
"""Rows swapped together, unless one run alone has more: their runs' appends wait for it."""

_PAGE = 5_000


@dataclass(frozen=True)
class Rebuilt:
    """How much was made new."""

    runs: int
    rows: int
    """Of runs, steps and items."""
    faults: Sequence[Fault] = ()
    """The first fault of every run that was left as it is, because its log was tampered with."""


def rebuild(database: Database, stream: str | None = None) -> Rebuilt:
    """Derive every row of `runs` and `steps` anew, or one run's; readers see each run's old rows or its new ones.

    Rows of a run that was tampered with, or of which no event is left, stay as they are.
    """
    runs = rows = 0
    # Of these no event is left, so the listing of streams below does not find them.
    faults = faults_of(database, run(database, strangers(stream)))
    for names in [[stream]] if stream is not None else _batches(database):
        # Checked before anything is derived: rows made from forged events would look like what happened.
        faults += faults_of(database, run(database, odd(names)))
        derived = run(database, _deriving(sorted({*names}.difference(fault.stream for fault in faults))))
        for group in _groups(derived):
            run(database, _swapping(group))
            runs += sum(of_run.run is not None for of_run in group)
            rows += sum(_rows(of_run) for of_run in group)
    return Rebuilt(runs, rows, faults)


def _batches(database: Database) -> Iterator[list[str]]:
    after = ""
    while names := run(database, listing(after)):
        for start in range(0, len(names), STREAMS_AT_ONCE):
            yield names[start : start + STREAMS_AT_ONCE]
        after = names[-1]


def _groups(derived: Iterable[Derived]) -> Iterator[list[Derived]]:
    """Runs that are swapped together."""
    group: list[Derived] = []
    for of_run in derived:
        if group and sum(map(_rows, group)) + _rows(of_run) > ROWS_AT_ONCE:
            yield group
            group = []
        group.append(of_run)
    if group:
        yield group


def _rows(derived: Derived) -> int:
    return len(derived.steps) + (derived.run is not None)


def _deriving(streams: Sequence[str]) -> Work[list[Derived]]:
    """The rows of some runs as of about now; `_swapping` takes in events that are appended later."""
    # Without a lock, so that the runs' appends have to wait for the swap only.
    derived = {stream: Derived(stream) for stream in streams}
    stream, version = "", 0
    while True:
        answers = yield [
            Query(
                f"SELECT {FACT_COLUMNS} FROM events"
                " WHERE stream = ANY(%(streams)s::text[]) AND (stream, version) > (%(stream)s, %(version)s)"
                " AND type = ANY(%(types)s::text[]) ORDER BY stream, version LIMIT %(limit)s",
                {"streams": list(streams), "stream": stream, "version": version, "types": PROJECTED, "limit": _PAGE},
            )
        ]
        if rows := answers[0]:
            _take_in(derived, rows)
            stream, version = rows[-1][:2]
        if len(rows) < _PAGE:
            return list(derived.values())


def _swapping(group: Sequence[Derived]) -> Work[None]:
    streams = [of_run.stream for of_run in group]
    answers = yield [
        BEGIN,
        # The lock that every append takes. Without it an append could come between the events read here and the rows
        # written from them, and what it changed would be overwritten. In one order, so that two rebuilds cannot
        # deadlock.
        Query(
            "SELECT pg_advisory_xact_lock(gate) FROM"
            " (SELECT hashtextextended(s, 0) AS gate FROM unnest(%(streams)s::text[]) s ORDER BY 1) gates",
            {"streams": streams},
        ),
        Query(
            f"SELECT {FACT_COLUMNS} FROM events e JOIN unnest(%(streams)s::text[], %(versions)s::integer[])"
            " AS seen(name, last) ON e.stream = seen.name AND e.version > seen.last"
            " WHERE type = ANY(%(types)s::text[]) ORDER BY stream, version",
            {"streams": streams, "versions": [of_run.version for of_run in group], "types": PROJECTED},
        ),
    ]
    _take_in({of_run.stream: of_run for of_run in group}, answers[2])
    yield [
        Query("DELETE FROM runs WHERE id = ANY(%(streams)s::text[])", {"streams": streams}),
        Query("DELETE FROM steps WHERE run = ANY(%(streams)s::text[])", {"streams": streams}),
        *writing(group),
        COMMIT,
    ]


def _take_in(derived: dict[str, Derived], rows: Sequence[tuple[object, ...]]) -> None:
    for stream, of_stream in groupby(rows, key=lambda row: row[0]):
        derived[stream].add([to_fact(row) for row in of_stream])
