"""The SQL of messages."""

from __future__ import annotations

from functools import lru_cache

CHANNEL = "muster_messages"
"""What those who wait listen to; a notification names mailboxes by their keys."""

COLUMNS = (
    "message, run, sender, mailbox, topic, conversation, causation, reply_to, schema, priority, sent_at, expires_at,"
    " body::text, id, token, attempts, status, error, settled_at"
)

_INTO = (
    "INSERT INTO messages (run, id, message, sender, mailbox, recipients, topic, conversation, causation, reply_to,"
    " schema, priority, expires_at, body, status, is_first, due_at)"
)
_IS_CLOSED = (
    "SELECT FROM runs WHERE runs.id = %(run)s::text AND runs.closed_at IS NOT NULL AND muster_has_ended(runs.id)"
)
# What a reply answers: it is refused once that has expired, also if nobody has marked it yet.
_HAS_EXPIRED = (
    "SELECT FROM messages asked WHERE asked.run = %(run)s::text AND asked.id = %(answers)s::uuid"
    " AND (asked.status = 'expired' OR asked.expires_at <= clock_timestamp())"
)
_EXPIRY = "clock_timestamp() + make_interval(secs => %(expires_in)s::float8)"
_DUE = "clock_timestamp() + make_interval(secs => %(delay)s::float8)"


def _is_first(mailbox: str) -> str:
    return (
        "NOT EXISTS (SELECT FROM messages before WHERE before.run = %(run)s::text"
        f" AND before.mailbox = {mailbox} AND before.conversation = %(conversation)s::text"
        " AND before.status = 'waiting')"
    )


@lru_cache
def send(*, is_new: bool, is_reply: bool) -> str:
    """Store a message to one mailbox; `is_new` says that it begins its conversation.

    A statement for each case: with the cases in one statement, the server would plan it anew each time.
    """
    first = "true" if is_new else _is_first("%(mailbox)s::text")
    in_time = f" AND NOT EXISTS ({_HAS_EXPIRED})" if is_reply else ""
    return f"""{_INTO}
SELECT %(run)s::text, %(id)s::uuid, %(id)s::uuid, %(sender)s::text, %(mailbox)s::text, NULL, %(topic)s::text,
       %(conversation)s::text, %(causation)s::uuid, %(reply_to)s::text, %(schema)s::text, %(priority)s::smallint,
       {_EXPIRY}, %(body)s::json, 'waiting', {first}, {_DUE}
WHERE NOT EXISTS ({_IS_CLOSED}){in_time}
ON CONFLICT (run, id) DO NOTHING RETURNING position"""


# One row stands for the message, so that a second sending finds it; each mailbox has a row of its own.
SEND_TO_MANY = f"""
WITH posted AS (
    {_INTO}
    SELECT %(run)s::text, %(id)s::uuid, %(id)s::uuid, %(sender)s::text, '', %(recipients)s::json, %(topic)s::text,
           %(conversation)s::text, %(causation)s::uuid, %(reply_to)s::text, %(schema)s::text, %(priority)s::smallint,
           {_EXPIRY}, %(body)s::json, 'posted', false, clock_timestamp()
    WHERE NOT EXISTS ({_IS_CLOSED}) AND NOT EXISTS ({_HAS_EXPIRED})
    ON CONFLICT (run, id) DO NOTHING RETURNING *
), whom AS (
    SELECT s.mailbox FROM subscriptions s, posted
     WHERE s.run = posted.run AND s.topic = posted.topic AND s.mailbox <> posted.sender AND %(is_broadcast)s::boolean
    UNION SELECT json_array_elements_text(recipients) FROM posted
), copies AS (
    {_INTO}
    SELECT p.run, md5(p.id::text || '/' || whom.mailbox)::uuid, p.id, p.sender, whom.mailbox, NULL, p.topic,
           p.conversation, p.causation, p.reply_to, p.schema, p.priority, p.expires_at, p.body, 'waiting',
           {_is_first("whom.mailbox")}, {_DUE}
    FROM posted p, whom ORDER BY whom.mailbox RETURNING mailbox
) SELECT posted.id, ARRAY(SELECT mailbox FROM copies) FROM posted"""

WHY_NOT = f"""
SELECT m.sender, m.mailbox, m.recipients, m.topic, m.conversation, m.schema, m.body::text, EXISTS ({_IS_CLOSED}),
       (SELECT coalesce(asked.expires_at, asked.settled_at) FROM messages asked
         WHERE asked.run = %(run)s::text AND asked.id = %(answers)s::uuid
           AND (asked.status = 'expired' OR asked.expires_at <= clock_timestamp()))
FROM (SELECT) AS one LEFT JOIN messages m ON m.run = %(run)s::text AND m.id = %(id)s::uuid"""

# Who hands out need not wait for the disk: if it is lost with the server's memory, the message is handed out again.
RECEIVE = f"""
SELECT {COLUMNS} FROM set_config('synchronous_commit', 'off', true), muster_receive_messages(
    %(run)s::text, %(mailbox)s::text, %(most)s::integer, %(visible_after)s::float8, %(limit)s::integer,
    %(delay)s::float8, %(factor)s::float8, %(longest)s::float8)"""

# Only what waits is taken. The status is not asked for: without statistics the server might take an index of what
# waits in place of the one that finds the row.
_HELD = "run = %(run)s::text AND id = %(row)s::uuid AND token = %(token)s::integer AND is_taken"

ACKNOWLEDGE = f"""
WITH done AS (
    UPDATE messages SET status = 'acknowledged', is_taken = false, settled_at = clock_timestamp() WHERE {_HELD}
    RETURNING run, mailbox, conversation, position
) SELECT CASE WHEN EXISTS (
    SELECT FROM messages behind WHERE behind.run = done.run AND behind.mailbox = done.mailbox
       AND behind.conversation = done.conversation AND behind.status = 'waiting' AND NOT behind.is_first
) THEN muster_next_message(run, mailbox, conversation, position) ELSE 0 END FROM done"""

REJECT = f"""
WITH done AS (
    UPDATE messages SET is_taken = false, error = %(error)s::text,
        status = CASE WHEN %(is_final)s::boolean OR attempts >= %(limit)s::integer THEN 'dead' ELSE 'waiting' END,
        settled_at = CASE WHEN %(is_final)s::boolean OR attempts >= %(limit)s::integer THEN clock_timestamp() END,
        due_at = clock_timestamp() + make_interval(secs => least(
            %(longest)s::float8, %(delay)s::float8 * %(factor)s::float8 ^ (attempts - 1)))
    WHERE {_HELD} RETURNING run, mailbox, conversation, position, status
) SELECT CASE WHEN status = 'dead' THEN 2 + muster_next_message(run, mailbox, conversation, position) ELSE 0 END
  FROM done"""

DEFER = f"""
UPDATE messages SET is_taken = false, attempts = attempts - 1, due_at = {_DUE} WHERE {_HELD} RETURNING 1"""

# With a new place in its conversation: others of it may have been handed out meanwhile.
SEND_AGAIN = """
UPDATE messages m SET status = 'waiting', attempts = 0, due_at = clock_timestamp(), settled_at = NULL, is_taken = false,
    position = nextval(pg_get_serial_sequence('messages', 'position')),
    is_first = NOT EXISTS (SELECT FROM messages before WHERE before.run = m.run AND before.mailbox = m.mailbox
        AND before.conversation = m.conversation AND before.status = 'waiting')
WHERE run = %(run)s AND id = %(row)s AND status = 'dead' AND (expires_at IS NULL OR expires_at > clock_timestamp())
    AND NOT EXISTS (SELECT FROM runs WHERE runs.id = m.run AND runs.closed_at IS NOT NULL
        AND muster_has_ended(runs.id))
RETURNING mailbox"""

LIST = f"""
SELECT {COLUMNS} FROM messages
WHERE (%(run)s::text IS NULL OR run = %(run)s) AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY position LIMIT %(limit)s"""

SUBSCRIBE = """
INSERT INTO subscriptions (run, topic, mailbox) VALUES (%(run)s, %(topic)s, %(mailbox)s) ON CONFLICT DO NOTHING"""
UNSUBSCRIBE = "DELETE FROM subscriptions WHERE run = %(run)s AND topic = %(topic)s AND mailbox = %(mailbox)s"

# Of the mailboxes that somebody waits at, those that have something: its time has come, or its bell was not heard.
DUE = """
SELECT place FROM unnest(%(runs)s::text[], %(mailboxes)s::text[]) WITH ORDINALITY AS w (run, mailbox, place)
WHERE EXISTS (
    SELECT FROM messages m WHERE m.run = w.run AND m.mailbox = w.mailbox AND m.status = 'waiting' AND m.is_first
       AND m.due_at <= clock_timestamp()
) OR EXISTS (
    SELECT FROM messages m WHERE m.run = w.run AND m.mailbox = w.mailbox AND m.status = 'waiting'
       AND m.expires_at <= clock_timestamp()
)"""

EXPIRE = """
UPDATE messages SET status = 'expired', settled_at = clock_timestamp(), is_taken = false,
    error = CASE WHEN expires_at <= clock_timestamp() THEN error ELSE 'the run has ended' END
WHERE status = 'waiting' AND (expires_at <= clock_timestamp() AND NOT (is_taken AND due_at > clock_timestamp())
    OR run IN (SELECT id FROM runs WHERE closed_at IS NOT NULL) AND muster_has_ended(run))"""
