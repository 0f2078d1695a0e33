"""The SQL of the log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from muster.events import projections
from muster.events.batch import Plan
from muster.events.driver import HotQuery, Query
from muster.events.objects import StoredObject

COLUMNS = (
    "position, stream, version, id, at, causation, type, key, actor, correlation,"
    " encode(previous_hash, 'hex'), encode(hash, 'hex'), data::text"
)
"""What `muster.events.rows` reads, in its order."""

_INTO = (
    "INSERT INTO events (stream, version, id, at, causation, type, step, key, actor, correlation,"
    " previous_hash, hash, data)"
)

# Most appends bring one event: plain parameters spare the server the parsing of JSON and a sort. The snapshot of this
# statement is older than its lock, and misses what another writer committed during the wait. The unique indexes do not:
# they say whether version and key are free.
_ONE = f"""{_INTO}
    SELECT %(stream)s::text, %(version)s::integer, %(id)s::uuid, %(at)s::timestamptz, %(causation)s::uuid,
           %(type)s::text, %(step)s::text, %(key)s::text, %(actor)s::text, %(correlation)s::text,
           decode(%(previous_hash)s::text, 'hex'), decode(%(hash)s::text, 'hex'), %(data)s::text::json
    FROM (SELECT pg_advisory_xact_lock(hashtextextended(%(stream)s::text, 0))) AS gate
    ON CONFLICT DO NOTHING RETURNING version, position"""

# The condition is a volatile function: it takes the lock, and then reads the head in a snapshot of its own. The
# statement's snapshot is from before the wait: by it, a stream that has grown meanwhile would look as it was planned.
_MANY = f"""{_INTO}
    SELECT %(stream)s::text, e.version, e.id, e.at, e.causation, e.type, e.step, e.key, e.actor, e.correlation,
           decode(e.previous_hash, 'hex'), decode(e.hash, 'hex'), e.data::json
    FROM json_to_recordset(%(rows)s::json) AS e(
        version integer, id uuid, at timestamptz, causation uuid, type text, step text, key text, actor text,
        correlation text, previous_hash text, hash text, data text)
    WHERE (SELECT muster_may_append(%(stream)s::text, %(last)s::integer, decode(%(last_hash)s::text, 'hex'),
                                    ARRAY(SELECT json_array_elements_text(%(keys)s::json))))
    ORDER BY e.version RETURNING version, position"""


_TABLES = (projections.RUNS, projections.STEPS)

Shape = tuple[tuple[str, ...], ...]
"""For `runs` and for `steps`: the columns that one event changes, none when it changes nothing."""


@lru_cache(maxsize=256)
def _one(shape: Shape) -> str:
    """The SQL of an append of one event. It names the stream, then the row, then what changes of each table."""
    changed = [(table, columns) for table, columns in zip(_TABLES, shape, strict=True) if columns]
    return _with(_ONE, [(table.name, table.upsert_one(columns, "written")) for table, columns in changed])


@lru_cache
def _many(runs: bool, steps: bool) -> str:
    changed = [table for table, is_changed in zip(_TABLES, (runs, steps), strict=True) if is_changed]
    return _with(
        _MANY,
        [
            (projection.name, projection.upsert(projection.name, "(SELECT FROM written LIMIT 1) AS w"))
            for projection in changed
        ],
    )


def _with(insert: str, upserts: Sequence[tuple[str, str]]) -> str:
    if not upserts:
        return insert
    parts = [f"written AS ({insert})", *(f"in_{name} AS ({upsert})" for name, upsert in upserts)]
    return f"WITH {', '.join(parts)} SELECT version, position FROM written"


def append(plan: Plan) -> HotQuery:
    """Everything an append writes, as one statement.

    It returns (version, position) of each row; none when the stream has grown since the plan was made or
    holds one of its keys, and then nothing is written.
    """
    if len(plan.rows) == 1:
        (row,) = plan.rows
        if row.type not in projections.PROJECTED:
            return HotQuery(_ONE, (plan.stream, *row))
        runs, steps = projections.changes(plan.stream, plan.facts())
        run, step = runs[0] if runs else {}, steps[0] if steps else {}
        sql = _one((tuple(run), tuple(step)))
        return HotQuery(sql, (plan.stream, *row, *run.values(), *step.values()))
    runs, steps = projections.changes(plan.stream, plan.facts())
    parameters: dict[str, object] = {"stream": plan.stream}
    parameters["last"], parameters["last_hash"] = plan.before
    parameters["rows"] = projections.as_parameter([row._asdict() for row in plan.rows])
    parameters["keys"] = projections.as_parameter([row.key for row in plan.rows if row.key is not None])
    parameters["runs"] = projections.as_parameter(runs)
    parameters["steps"] = projections.as_parameter(steps)
    return HotQuery(_many(bool(runs), bool(steps)), parameters)


# Named, whatever the server's default is: the head is read after the lock, and must show what another writer committed
# while we waited. Under REPEATABLE READ the snapshot would be from before the wait.
BEGIN = Query("BEGIN ISOLATION LEVEL READ COMMITTED")
COMMIT = Query("COMMIT")


def lock(stream: str) -> Query:
    """Wait until nobody else appends to the stream, and keep others waiting until the transaction ends."""
    # An advisory lock, because waiting for it assigns no transaction id: the later writer of a stream has the larger
    # one, which is the order that followers read in.
    return Query("SELECT pg_advisory_xact_lock(hashtextextended(%(stream)s, 0))", {"stream": stream})


def subject(stream: str) -> Query:
    """The subject of a run, from the event that opened it."""
    return Query(
        "SELECT data->>'subject' FROM events WHERE stream = %(stream)s AND type = 'run.opened'"
        " ORDER BY version LIMIT 1",
        {"stream": stream},
    )


def head(stream: str) -> Query:
    """(version, hash) of the stream's last event; no row for a stream without events."""
    return Query(
        "SELECT version, encode(hash, 'hex') FROM events WHERE stream = %(stream)s ORDER BY version DESC LIMIT 1",
        {"stream": stream},
    )


def lasts(stream: str, steps: Collection[str]) -> Query:
    """(step, version) of the last event of each of these steps; no row for one without events."""
    return Query(
        "SELECT step, version FROM unnest(%(steps)s::text[]) AS step, LATERAL (SELECT version FROM events"
        " WHERE stream = %(stream)s AND events.step = step.step ORDER BY version DESC LIMIT 1) AS last",
        {"stream": stream, "steps": sorted(steps)},
    )


def under_keys(stream: str, keys: Sequence[str]) -> Query:
    """The stream's events under any of the keys."""
    return _of_stream(stream, with_keys(keys))


def read(
    stream: str, after_version: int, steps: Collection[str] | None, types: Collection[str] | None, limit: int
) -> Query:
    """One page of a stream."""
    return _of_stream(stream, page(after_version, steps, types, limit))


class Wanted(NamedTuple):
    """Which events of a stream are asked for."""

    condition: str
    """What follows `AND` in the SQL: a condition, and an order and a limit if need be."""
    parameters: Mapping[str, object]


def with_keys(keys: Sequence[str]) -> Wanted:
    """Those under any of the keys."""
    return Wanted("key = ANY(%(keys)s::text[])", {"keys": list(keys)})


def page(after_version: int, steps: Collection[str] | None, types: Collection[str] | None, limit: int) -> Wanted:
    """The first ones after a version, of these steps and of no step, of these types."""
    conditions = ["version > %(after)s"]
    parameters: dict[str, object] = {"after": after_version, "limit": limit}
    if steps is not None:
        # Events that belong to no step carry the empty name.
        conditions.append("step = ANY(%(steps)s::text[])")
        parameters["steps"] = ["", *steps]
    if types is not None:
        conditions.append("type = ANY(%(types)s::text[])")
        parameters["types"] = [str(type) for type in types]
    return Wanted(f"{' AND '.join(conditions)} ORDER BY version LIMIT %(limit)s", parameters)


def unseen(stream: str, seen: int, most: int, wanted: Wanted | None = None) -> Query:
    """The first `most` events after the version `seen`, and those wanted up to it; each row is followed by its step."""
    parameters: dict[str, object] = {"stream": stream, "seen": seen, "most": most}
    columns = f"SELECT {COLUMNS}, step FROM events WHERE stream = %(stream)s"
    new = f"{columns} AND version > %(seen)s ORDER BY version LIMIT %(most)s"
    if wanted is None or not seen:
        return Query(new, parameters)
    # In one statement, and so in one look at the table: between two, an event that is too new for the one could be
    # missing from the other.
    old = f"{columns} AND version <= %(seen)s AND {wanted.condition}"
    return Query(f"({old}) UNION ALL ({new})", {**parameters, **wanted.parameters})


def _of_stream(stream: str, wanted: Wanted) -> Query:
    sql = f"SELECT {COLUMNS} FROM events WHERE stream = %(stream)s AND {wanted.condition}"
    return Query(sql, {"stream": stream, **wanted.parameters})


FOLLOWING = (
    # One comparison of rows each: the index gives both ends. Of the server that writes now, only rows older than every
    # transaction under way count: a reader that went past an open one would miss what it commits later. Rows of earlier
    # servers, from before a restore, all count.
    "(server_epoch, transaction, position) > (%(server_epoch)s, %(transaction)s::text::xid8, %(position)s)"
    " AND (server_epoch, transaction)"
    " < ((SELECT muster_server_epoch()), (SELECT pg_snapshot_xmin(pg_current_snapshot())))"
)
"""The condition on events that come after a place (`Place.parameters`), and before which no other will come."""


def follow(place: dict[str, object], limit: int) -> Query:
    """One page of the whole log, each row followed by its server's epoch and its transaction."""
    return Query(
        f"SELECT {COLUMNS}, server_epoch, transaction::text FROM events WHERE {FOLLOWING}"
        " ORDER BY server_epoch, events.transaction, events.position LIMIT %(limit)s",
        {**place, "limit": limit},
    )


def store_objects(objects: Sequence[StoredObject]) -> list[Query]:
    """Keep objects; those already there stay as they are."""
    return [
        Query(
            "INSERT INTO objects (sha256, media_type, content) VALUES (decode(%(name)s, 'hex'), %(media)s, %(content)s)"
            " ON CONFLICT DO NOTHING",
            {"name": stored.sha256, "media": stored.media_type, "content": stored.content},
        )
        # In one order everywhere, so that two writers of the same objects cannot deadlock.
        for stored in sorted(objects)
    ]


def objects(names: Collection[str]) -> Query:
    """(name, content) of the objects."""
    return Query(
        "SELECT sha256, content FROM objects"
        " WHERE sha256 = ANY(SELECT decode(n, 'hex') FROM unnest(%(names)s::text[]) n)",
        {"names": list(names)},
    )
