"""The SQL of the blackboard."""

from __future__ import annotations

COLUMNS = (
    "key, version, value::text, kind, run, writer, base, causation, written_at, rests_on_withdrawn, withdrawn_at,"
    " withdrawn_because, execution, attempt, board"
)

_IS_CLOSED = (
    "SELECT FROM runs WHERE runs.id = %(run)s::text AND runs.closed_at IS NOT NULL AND muster_has_ended(runs.id)"
)

# Of two that have seen the same version one inserts the next, and the other finds it taken: there is nothing to lock.
_WRITE = """
INSERT INTO blackboard (board, key, version, value, kind, run, writer, work, execution, attempt, base, causation,
    rests_on_withdrawn)
SELECT %(board)s::text, %(key)s::text, %(current)s::integer + 1, %(value)s::text::json, %(kind)s::text, %(run)s::text,
    %(writer)s::text, %(work)s::text, %(execution)s::bigint, %(attempt)s::integer, %(base)s::integer,
    %(causation)s::uuid, %(rests)s::boolean
WHERE {and_if}(%(current)s::integer = 0 OR EXISTS (
    SELECT FROM blackboard seen WHERE seen.board = %(board)s::text AND seen.key = %(key)s::text
       AND seen.version = %(current)s::integer))
ON CONFLICT (board, key, version) DO NOTHING RETURNING version"""
WRITE = _WRITE.format(and_if=f"NOT EXISTS ({_IS_CLOSED}) AND ")
REWRITE = _WRITE.format(and_if="")
"""What was withdrawn, also after the run has ended."""

# Those who make the next version of what is there do so one after the other: of eight that all try at once seven would
# have done it in vain each time. It is a convenience, no more: whoever waits too long goes on without.
LOCK = """
SELECT pg_advisory_xact_lock(hashtextextended(%(board)s::text || chr(10) || %(key)s::text, 19))
FROM set_config('lock_timeout', %(patience)s::text, true)"""

IS_CLOSED = f"SELECT EXISTS ({_IS_CLOSED})"

CURRENT = f"""
SELECT {", ".join(f"found.{column}" for column in COLUMNS.split(", "))}
FROM unnest(%(boards)s::text[], %(keys)s::text[]) AS asked (board, key) CROSS JOIN LATERAL (
    SELECT * FROM blackboard b WHERE b.board = asked.board AND b.key = asked.key ORDER BY b.version DESC LIMIT 1
) AS found"""

HEAD = f"SELECT {COLUMNS} FROM blackboard WHERE board = %(board)s AND key = %(key)s ORDER BY version DESC LIMIT 1"

ONE = f"SELECT {COLUMNS} FROM blackboard WHERE board = %(board)s AND key = %(key)s AND version = ANY(%(versions)s)"

CAUSED = """
SELECT version FROM blackboard
WHERE board = %(board)s AND key = %(key)s AND causation = %(event)s AND withdrawn_at IS NULL"""

HISTORY = f"""
SELECT {COLUMNS} FROM blackboard WHERE board = %(board)s AND key = %(key)s ORDER BY version DESC LIMIT %(limit)s"""

# What stands of a work item: all of it, or what attempts before this one have written. What undoes it has a key below
# its own, and is not meant.
STANDING = f"""
SELECT {COLUMNS} FROM blackboard
WHERE run = %(run)s AND (work = %(work)s OR %(below)s AND starts_with(work, %(work)s || '/')
        AND work <> %(work)s || '/undo' AND NOT starts_with(work, %(work)s || '/undo/'))
    AND withdrawn_at IS NULL AND kind <> 'withdrawal'
    AND (%(execution)s::bigint IS NULL OR (execution, attempt) < (%(execution)s::bigint, %(attempt)s::integer))
ORDER BY board, key, version"""

WITHDRAWN = """
UPDATE blackboard SET withdrawn_at = clock_timestamp(), withdrawn_because = %(because)s
WHERE board = %(board)s AND key = %(key)s AND version = ANY(%(versions)s)"""

LEFT = """
SELECT EXISTS (SELECT FROM blackboard
    WHERE board = %(board)s AND key = %(key)s AND kind <> 'withdrawal' AND withdrawn_at IS NULL)"""

# Of those that are watched, the ones of which there is a version after the one that was seen.
DUE = """
SELECT place FROM unnest(%(boards)s::text[], %(keys)s::text[], %(versions)s::integer[])
    WITH ORDINALITY AS watched (board, key, version, place)
WHERE EXISTS (SELECT FROM blackboard b
    WHERE b.board = watched.board AND b.key = watched.key AND b.version = watched.version + 1)"""
