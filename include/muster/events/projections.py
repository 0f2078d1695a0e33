"""The tables `runs` and `steps`, derived from events in the transaction that appends them.

Each event says which columns of which row it touches, and how: a column is overwritten, kept from the
first event, or added up. Changes of one row merge by the same rules in Python (within one append)
and in SQL (onto the stored row), so the result does not depend on how events were batched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from muster.events.facts import Fact
from muster.events.model import ASKING
from muster.events.model import EventType as T
from muster.events.sealing import is_marker, is_sealed, words

Change = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A projection: its columns by how a later change meets an earlier one."""

    name: str
    key: tuple[str, ...]
    state: tuple[str, ...]
    """Overwritten together, by nulls too, whenever a change carries a `status`."""
    end: str
    """The one of them that is set at the end: a change that has none never overwrites a state that has one."""
    latest: tuple[str, ...]
    """The last value that is not null."""
    first: tuple[str, ...]
    """The first value that is not null."""
    total: tuple[str, ...]
    """Added up."""
    types: Mapping[str, str]
    """SQL types of the columns that are not text."""
    number: str | None = None
    """The column with the number of the execution that the state is of: a later one overwrites an earlier one's state,
    and an earlier one changes nothing any more."""

    def merge(self, old: Change, new: Change) -> Change:
        """The one change that does what `old` and then `new` do."""
        merged = {**old}
        if new.get("status") is not None and self._overwrites(old, new):
            merged.update({name: new.get(name) for name in (*self.state, *self._number)})
        merged.update({name: new[name] for name in self.latest if new.get(name) is not None})
        merged.update({name: new[name] for name in self.first if old.get(name) is None and name in new})
        merged.update({name: old.get(name, 0) + new.get(name, 0) for name in self.total})
        return merged

    def _overwrites(self, old: Change, new: Change) -> bool:
        # The rule of `_upsert`, for events of one append. An event that a process taken for dead writes late is of an
        # earlier execution, or comes after the end: it must not set the state back.
        later = sum(new.get(name, 0) - old.get(name, 0) for name in self._number)
        return later > 0 or (later == 0 and bool(new.get(self.end) or not old.get(self.end)))

    @property
    def _number(self) -> tuple[str, ...]:
        return () if self.number is None else (self.number,)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column."""
        return (*self.key, *self.state, *self.latest, *self.first, *self.total, *self._number)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The columns that are never null: 0 where nothing is said of them."""
        return (*self.total, *self._number)

    def upsert(self, parameter: str, source: str = "") -> str:
        """SQL that applies a JSON array of changes; `source` is a relation whose absence prevents it."""
        typed = ", ".join(f"{name} {self.types.get(name, 'text')}" for name in self.columns)
        selected = ", ".join(f"coalesce(c.{n}, 0)" if n in self.numbers else f"c.{n}" for n in self.columns)
        return self._upsert(
            self.columns,
            f"{selected} FROM {source}{', ' if source else ''}json_to_recordset(%({parameter})s::json) AS c({typed})",
        )

    def upsert_one(self, given: Collection[str], source: str) -> str:
        """SQL that applies one change with values for `given` columns: it says nothing of the others, which spares
        the server most of the work. Their parameters are named by `parameter`.
        """
        values = [f"%({self.parameter(name)})s::{self.types.get(name, 'text')}" for name in given]
        added = [name for name in self.total if name not in given]
        return self._upsert((*given, *added), f"{', '.join([*values, *('0' for _ in added)])} FROM {source}")

    def parameter(self, column: str) -> str:
        """What `upsert_one` calls the value of a column."""
        return f"{self.name}_{column}"

    def _upsert(self, columns: Collection[str], select: str) -> str:
        # The rule of `_overwrites`, for events of two appends: the rows must not depend on how events were batched.
        new, old = "excluded", self.name
        changes = f"({new}.{self.end} IS NOT NULL OR {old}.{self.end} IS NULL)"
        if self.number is not None:
            later, same = (f"{new}.{self.number} {sign} {old}.{self.number}" for sign in (">", "="))
            changes = f"({later} OR ({same} AND {changes}))"
        changes = f"{new}.status IS NOT NULL AND {changes}"
        overwritten = (*self.state, *self._number) if "status" in columns else ()
        assignments = ", ".join(
            [f"{n} = CASE WHEN {changes} THEN {new}.{n} ELSE {old}.{n} END" for n in overwritten]
            + [f"{n} = coalesce({new}.{n}, {old}.{n})" for n in self.latest if n in columns]
            + [f"{n} = coalesce({old}.{n}, {new}.{n})" for n in self.first if n in columns]
            + [f"{n} = {old}.{n} + {new}.{n}" for n in self.total]
        )
        return (
            f"INSERT INTO {self.name} ({', '.join(columns)}) SELECT {select}"
            f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {assignments}"
        )


RUNS = Table(
    name="runs",
    key=("id",),
    state=("status", "reason", "closed_at", "succeeded", "failed", "skipped", "set_aside"),
    end="closed_at",
    latest=("automation", "definition", "bundle_version", "trigger", "requested_by", "dag_id", "dag_run_id"),
    first=("opened_at",),
    total=("calls", "cost_usd"),
    types={
        "closed_at": "timestamptz",
        "opened_at": "timestamptz",
        "succeeded": "integer",
        "failed": "integer",
        "skipped": "integer",
        "set_aside": "integer",
        "calls": "integer",
        "cost_usd": "numeric",
    },
)

STEPS = Table(
    name="steps",
    key=("run", "step", "index"),
    state=("status", "ended_at", "produced_by", "fallback", "reason", "error_class", "error"),
    end="ended_at",
    latest=("kind", "lane", "attempt", "length", "actor"),
    first=("started_at",),
    total=("calls", "cost_usd"),
    number="epoch",
    types={
        "index": "integer",
        "epoch": "integer",
        "ended_at": "timestamptz",
        "started_at": "timestamptz",
        "attempt": "integer",
        "length": "integer",
        "fallback": "boolean",
        "calls": "integer",
        "cost_usd": "numeric",
    },
)

NO_INDEX = -1
"""In the column `index`: the step itself, not an item of it."""


def changes(stream: str, facts: Iterable[Fact]) -> tuple[list[Change], list[Change]]:
    """What the events of one stream change in `runs` and in `steps`: at most one change a row."""
    run: Change | None = None
    steps: dict[tuple[str, int], Change] = {}
    for fact in facts:
        if change := _run_change(fact):
            change["id"] = stream
            run = RUNS.merge(run, change) if run else change
        if (step := fact.data.get("step")) and isinstance(step, str) and (change := _step_change(fact)):
            index = _integer(fact.data.get("index"))
            key = (_text(step) or "", NO_INDEX if index is None else index)
            change.update(run=stream, step=key[0], index=key[1])
            steps[key] = STEPS.merge(steps[key], change) if key in steps else change
    return [run] if run else [], list(steps.values())


_encode = json.JSONEncoder(default=str).encode


def as_parameter(values: Sequence[Change | str]) -> str:
    """Changes, or other rows, as the JSON array that SQL takes apart."""
    return _encode(values)


def _run_change(fact: Fact) -> Change | None:
    data = fact.data
    match fact.type:
        case T.RUN_OPENED:
            return {"status": "open", "opened_at": fact.at, **{name: _text(data.get(name)) for name in RUNS.latest}}
        case T.RUN_RESTARTED if data.get("definition") is not None:
            # The run goes on with another version; an order without one says nothing of it and changes nothing.
            return {name: _text(data.get(name)) for name in ("definition", "bundle_version")}
        case T.RUN_CLOSED:
            counts = _mapping(data.get("counts"))
            return {
                "status": _text(data.get("status")),
                "reason": _text(data.get("reason")),
                "closed_at": fact.at,
                **{name: _integer(counts.get(name)) for name in ("succeeded", "failed", "skipped", "set_aside")},
            }
        case T.MODEL_CALLED:
            return {"calls": 1, "cost_usd": money(data.get("cost"))}
        case T.RUN_STUCK:
            return {"status": "stuck", "reason": _text(_mapping(data.get("error")).get("message"))}
    return None


def _step_change(fact: Fact) -> Change | None:
    build = _STEP_CHANGES.get(fact.type)
    if build is None:
        return None
    change = build(fact)
    if "status" in change:
        # Only with a state, whose number it is: a model call that is told late says nothing about the execution.
        change["epoch"] = _integer(fact.data.get("epoch")) or 0
    agent = fact.data.get("agent")
    if isinstance(agent, str) or fact.actor != "muster":
        change["actor"] = _text(agent if isinstance(agent, str) else fact.actor)
    return change


def _started(fact: Fact) -> Change:
    data = fact.data
    return {
        # A question stays one while its task is performed again: to remind people, or because its process died.
        "status": "waiting" if data.get("kind") in ASKING else "running",
        "started_at": fact.at,
        "kind": _text(data.get("kind")),
        "lane": _text(data.get("lane")),
        "attempt": _integer(data.get("attempt")),
    }


def _expanded(fact: Fact) -> Change:
    return {"status": "running", "started_at": fact.at, "length": _integer(fact.data.get("length"))}


def _extended(fact: Fact) -> Change:
    return {"length": _integer(fact.data.get("length"))}


def _retried(fact: Fact) -> Change:
    return {"status": "retrying", "attempt": _integer(fact.data.get("attempt")), **_error(fact)}


def _ended(status: str) -> Callable[[Fact], Change]:
    def change(fact: Fact) -> Change:
        data = fact.data
        return {
            "status": status,
            "ended_at": fact.at,
            "produced_by": _text(data.get("produced_by")),
            "fallback": bool(data.get("fallback")),
            "reason": _text(data.get("reason")),
            **_error(fact),
        }

    return change


def _completed(fact: Fact) -> Change:
    return {"status": fan_out_status(_mapping(fact.data.get("counts"))), "ended_at": fact.at, "fallback": False}


def _called(fact: Fact) -> Change:
    return {"calls": 1, "cost_usd": money(fact.data.get("cost"))}


_STEP_CHANGES: Mapping[str, Callable[[Fact], Change]] = {
    T.STEP_STARTED: _started,
    T.STEP_EXPANDED: _expanded,
    T.STEP_EXTENDED: _extended,
    T.STEP_RETRIED: _retried,
    T.STEP_SUCCEEDED: _ended("succeeded"),
    T.STEP_FAILED: _ended("failed"),
    T.STEP_SKIPPED: _ended("skipped"),
    T.STEP_SET_ASIDE: _ended("set_aside"),
    T.STEP_COMPLETED: _completed,
    T.STEP_STOPPED: lambda fact: {"status": "stopped"},
    T.COMPENSATION_SUCCEEDED: _ended("undone"),
    T.MODEL_CALLED: _called,
    T.APPROVAL_REQUESTED: lambda fact: {"status": "waiting"},
    T.APPROVAL_ANSWERED: lambda fact: {"status": "running"},
}


PROJECTED: list[str] = sorted(map(str, {*_STEP_CHANGES, T.RUN_OPENED, T.RUN_RESTARTED, T.RUN_CLOSED, T.RUN_STUCK}))
"""The types of events that change a projection."""


def fan_out_status(counts: Mapping[str, object]) -> Literal["succeeded", "failed", "undone", "skipped"]:
    """How a fan-out ended: failed when every item with work was set aside or failed, skipped when none had work.

    Undone when every item that was not lost is.
    """
    lost = (_integer(counts.get("set_aside")) or 0) + (_integer(counts.get("failed")) or 0)
    if _integer(counts.get("succeeded")):
        return "succeeded"
    if lost:
        return "failed"
    return "undone" if _integer(counts.get("undone")) else "skipped"


_PLACES = 12
"""Digits of a cost on either side of the point: few enough that Python's 28 add up costs as exactly as SQL does."""


def money(value: object) -> Decimal:
    """A cost in USD from its decimal string, to 12 places; zero when it is unknown or no amount anyone could owe."""
    if isinstance(value, str) and len(value) <= _PLACES and value.isascii() and value.replace(".", "", 1).isdigit():
        # Nearly every cost: so few digits are within the places, whichever side of the point they are on.
        return Decimal(value)
    try:
        amount = Decimal(value) if isinstance(value, str | int) else Decimal(0)
    except InvalidOperation:
        return Decimal(0)
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or amount.adjusted() >= _PLACES:
        return Decimal(0)
    return amount if exponent >= -_PLACES else round(amount, _PLACES)


def _error(fact: Fact) -> Change:
    error = _mapping(fact.data.get("error"))
    return {"error_class": _text(error.get("class")), "error": _text(error.get("message"))}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = words(value) if isinstance(value, str) or is_sealed(value) or is_marker(value) else None
    text = json.dumps(value, sort_keys=True) if text is None else text
    if text.isascii() and "\0" not in text:
        return text
    # A column of type text can hold neither; the log itself keeps them.
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31 else None
