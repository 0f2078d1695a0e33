"""Replay: the state of a run rebuilt from its log alone, at any moment, and held against the projections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from muster.database import Database
from muster.errors import MusterError
from muster.events import statements
from muster.events.deriving import Derived, full
from muster.events.driver import Query, Work, run
from muster.events.facts import Fact
from muster.events.model import Event
from muster.events.projections import NO_INDEX, RUNS, STEPS, Change, Table
from muster.events.rows import resolve, to_event
from muster.events.state import RunState

_PAGE = 2_000

SNAPSHOT = Query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
"""Everything is read as of one moment, whatever is appended meanwhile."""


@dataclass(frozen=True)
class Difference:
    """One column in which a projection does not say what the log says."""

    table: str
    row: str
    """The run's id, or `step` or `step[index]`."""
    column: str
    stored: object
    """None too when the row is missing; then `column` is `*`."""
    derived: object


@dataclass(frozen=True)
class Replay:
    """A run's state at one moment."""

    run: str
    version: int
    """How many events were folded."""
    last: int
    """How many there are."""
    at: datetime
    """When the last of the folded events was written."""
    state: RunState
    differences: list[Difference] | None
    """Between the projections and the log; None when the replay stopped before the end."""


def replay(database: Database, run_id: str, *, until: int | datetime | None = None, step: str | None = None) -> Replay:
    """Fold a run's events: all of them, up to a version or a time, or up to the last one of a step.

    Raises:
        MusterError: there is no such run, no such step in it, or no such moment.
    """
    return run(database, _replaying(run_id, until, step))


def has_events(database: Database, stream: str) -> bool:
    """True when the log holds a stream of this name."""
    return bool(run(database, _single(statements.head(stream))))


def _single(query: Query) -> Work[Any]:
    rows = (yield [query])[0]
    return rows[0] if rows else None


def _replaying(stream: str, until: int | datetime | None, step: str | None) -> Work[Replay]:
    # One snapshot for the events and the rows: an append between the two would show as a difference that is none.
    yield [SNAPSHOT]
    head = yield from _single(statements.head(stream))
    if head is None:
        raise MusterError(f"There is no run {stream!r} in the log.", remedy="`muster runs` lists them.")
    last = head[0]
    end = yield from _moment(stream, last, until)
    if step is not None:
        end = yield from _end_of_step(stream, step, end)
    state, derived, at = yield from _folding(stream, end)
    differences = None
    if end == last:
        stored = yield [_rows(RUNS, "id", stream), _rows(STEPS, "run", stream)]
        differences = [*_compare(RUNS, derived, stored[0]), *_compare(STEPS, derived, stored[1])]
        differences += _contradictions(state, derived.run or {})
    yield [statements.COMMIT]
    return Replay(stream, end, last, at, state, differences)


def _moment(stream: str, last: int, until: int | datetime | None) -> Work[int]:
    """The version of the last event to fold."""
    if until is None:
        return last
    if isinstance(until, int):
        if not 1 <= until <= last:
            raise MusterError(
                f"The run {stream} has no event {until}.", remedy=f"Give a version from 1 to {last}, or a time."
            )
        return until
    # The first event after that time, not the last before it: clocks of several machines may disagree.
    later = yield from _single(
        Query(
            "SELECT min(version) FROM events WHERE stream = %(stream)s AND at > %(until)s",
            {"stream": stream, "until": until},
        )
    )
    if later[0] == 1:
        raise MusterError(
            f"The run {stream} had not begun at {until.isoformat()}.",
            remedy=f"`muster replay {stream} --until 1` shows its beginning, and when it was.",
        )
    return last if later[0] is None else int(later[0]) - 1


def _end_of_step(stream: str, step: str, end: int) -> Work[int]:
    answers = yield [
        Query(
            "SELECT step, max(version) FILTER (WHERE version <= %(end)s) FROM events"
            " WHERE stream = %(stream)s AND step <> '' GROUP BY step ORDER BY min(version)",
            {"stream": stream, "end": end},
        )
    ]
    versions: dict[str, int | None] = dict(answers[0])
    version = versions.get(step)
    if version is not None:
        return version
    if step in versions:
        raise MusterError(
            f"Nothing had happened to the step {step!r} of {stream} by then.", remedy="Give a later moment."
        )
    raise MusterError(
        f"Nothing happened to a step {step!r} in the run {stream}.",
        remedy=f"Its steps so far: {', '.join(versions) or 'none'}.",
    )


def _folding(stream: str, end: int) -> Work[tuple[RunState, Derived, datetime]]:
    state, derived = RunState(), Derived(stream)
    while True:
        answers = yield [
            Query(
                f"SELECT {statements.COLUMNS} FROM events WHERE stream = %(stream)s AND version > %(after)s"
                " AND version <= %(end)s ORDER BY version LIMIT %(limit)s",
                {"stream": stream, "after": state.version, "end": end, "limit": _PAGE},
            )
        ]
        events = [to_event(row) for row in answers[0]]
        _insist_on_order(stream, state.version, events, end)
        derived.add([_fact(event) for event in events])
        for event in (yield from resolve(events)):
            state.apply(event)
        if state.version >= end:
            return state, derived, events[-1].at


def _insist_on_order(stream: str, before: int, events: list[Event], end: int) -> None:
    # A fold over a gap would show a state that the run never had.
    expected = range(before + 1, min(before + _PAGE, end) + 1)
    if [event.version for event in events] != list(expected):
        raise MusterError(
            f"Events of {stream} after version {before} are missing from the log.",
            remedy=f"Run `muster verify {stream}`: somebody changed the table by hand.",
        )


def _fact(event: Event) -> Fact:
    return Fact(event.stream, event.version, event.type, event.actor, event.at, event.data)


def _rows(table: Table, key: str, stream: str) -> Query:
    return Query(f"SELECT {', '.join(table.columns)} FROM {table.name} WHERE {key} = %(stream)s", {"stream": stream})


def _by_key(table: Table, derived: Derived) -> dict[tuple[object, ...], Change]:
    rows = list(derived.steps.values()) if table is STEPS else [derived.run] if derived.run else []
    return {tuple(row[name] for name in table.key): row for row in rows}


def _compare(table: Table, of_run: Derived, rows: Any) -> Iterator[Difference]:
    derived = _by_key(table, of_run)
    stored = {row[: len(table.key)]: row for row in rows}
    for key in [*derived, *(key for key in stored if key not in derived)]:
        name = _name(*key)
        if key not in stored or key not in derived:
            yield Difference(table.name, name, "*", "a row" if key in stored else None, derived.get(key) and "a row")
            continue
        right = full(table, derived[key])
        for column, value in zip(table.columns, stored[key], strict=True):
            if value != right[column]:
                yield Difference(table.name, name, column, value, right[column])


def _name(run: str, step: str | None = None, index: int = NO_INDEX) -> str:
    if step is None:
        return run
    return step if index == NO_INDEX else f"{step}[{index}]"


def _contradictions(state: RunState, row: Mapping[str, object]) -> Iterator[Difference]:
    """Where the fold of the events and the rows derived from them disagree: a mistake in one of the two."""
    for column, value in (("status", state.status), ("calls", state.calls), ("cost_usd", state.cost)):
        derived = row.get(column, 0 if column in RUNS.total else "unknown")
        if derived != value:
            yield Difference("runs", state.id, f"{column} (folded)", derived, value)
