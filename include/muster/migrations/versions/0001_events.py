"""The log, its objects and definitions, and the projections `runs` and `steps`."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

LOG = """
CREATE TABLE events (
    position      bigint GENERATED ALWAYS AS IDENTITY,
    transaction   xid8 NOT NULL DEFAULT pg_current_xact_id(),
    version       integer NOT NULL,
    stream        text NOT NULL,
    id            uuid NOT NULL,
    at            timestamptz NOT NULL,
    causation     uuid,
    type          text NOT NULL,
    step          text NOT NULL,
    key           text,
    actor         text NOT NULL,
    correlation   text NOT NULL,
    previous_hash bytea NOT NULL,
    hash          bytea NOT NULL,
    data          json NOT NULL,
    PRIMARY KEY (stream, version)
);
CREATE UNIQUE INDEX events_key ON events (stream, key) WHERE key IS NOT NULL;
CREATE INDEX events_step ON events (stream, step, version);
CREATE INDEX events_follow ON events (transaction, position);
COMMENT ON TABLE events IS 'The log: append-only, hash-chained per stream.';
COMMENT ON COLUMN events.step IS 'data.step, or empty: lets a reader take only some steps of a long stream.';
COMMENT ON COLUMN events.transaction IS
    'The transaction that wrote the row: followers read only what is older than every running one.';
"""

APPEND = """
CREATE FUNCTION muster_may_append(into_stream text, last_version integer, last_hash bytea, keys text[])
RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- The gate of the stream, held to the end of the transaction: one writer after the other, in turn.
    -- Waiting here assigns no transaction id, so who writes later has the larger one.
    PERFORM pg_advisory_xact_lock(hashtextextended(into_stream, 0));
    -- A statement of a volatile function has a snapshot of its own: this sees what was committed while we waited.
    RETURN coalesce((SELECT e.version = last_version AND e.hash = last_hash FROM events e
                     WHERE e.stream = into_stream ORDER BY e.version DESC LIMIT 1), last_version = 0)
       AND NOT EXISTS (SELECT FROM events e WHERE e.stream = into_stream AND e.key = ANY(keys));
END $$;
COMMENT ON FUNCTION muster_may_append IS
    'Locks the stream, then says whether it ends where the writer believes and holds none of the keys.';
"""

APPEND_ONLY = """
CREATE FUNCTION muster_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the table % is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION muster_append_only();
"""

STORES = """
CREATE TABLE objects (
    sha256     bytea PRIMARY KEY,
    media_type text NOT NULL,
    content    bytea NOT NULL
);
COMMENT ON TABLE objects IS 'Values too large for an event, under the SHA-256 of their content.';

CREATE TABLE definitions (
    hash       text PRIMARY KEY,
    automation text NOT NULL,
    content    json NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX definitions_automation ON definitions (automation, first_seen);
COMMENT ON TABLE definitions IS 'Every definition a run was ever opened with.';
"""

PROJECTIONS = """
CREATE TABLE runs (
    id             text PRIMARY KEY,
    automation     text,
    definition     text,
    bundle_version text,
    status         text,
    reason         text,
    trigger        text,
    requested_by   text,
    dag_id         text,
    dag_run_id     text,
    opened_at      timestamptz,
    closed_at      timestamptz,
    succeeded      integer,
    failed         integer,
    skipped        integer,
    set_aside      integer,
    calls          integer NOT NULL,
    cost_usd       numeric NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX runs_opened ON runs (opened_at);
CREATE INDEX runs_automation ON runs (automation, opened_at);
COMMENT ON TABLE runs IS 'Projection of the log: one row per run.';

CREATE TABLE steps (
    run         text NOT NULL,
    step        text NOT NULL,
    index       integer NOT NULL,
    kind        text,
    lane        text,
    status      text,
    attempt     integer,
    length      integer,
    started_at  timestamptz,
    ended_at    timestamptz,
    actor       text,
    produced_by text,
    fallback    boolean,
    reason      text,
    error_class text,
    error       text,
    calls       integer NOT NULL,
    cost_usd    numeric NOT NULL,
    PRIMARY KEY (run, step, index)
) WITH (fillfactor = 70);
COMMENT ON TABLE steps IS 'Projection of the log: one row per step of a run, and one per item of a fan-out.';
COMMENT ON COLUMN steps.index IS 'Position of the item, -1 for the step itself.';

CREATE VIEW workflow_executions AS
SELECT r.id,
       r.automation AS workflow_id,
       r.trigger AS trigger_id,
       coalesce((SELECT array_agg(DISTINCT s.actor ORDER BY s.actor) FROM steps s
                 WHERE s.run = r.id AND s.kind = 'agent' AND s.actor <> 'muster'), '{}') AS agents_involved,
       r.status AS execution_status,
       CASE WHEN r.closed_at IS NOT NULL THEN
           json_build_object('reason', r.reason, 'succeeded', r.succeeded, 'failed', r.failed,
                             'skipped', r.skipped, 'set_aside', r.set_aside, 'cost_usd', r.cost_usd::text)
       END AS result,
       r.opened_at AS timestamp
FROM runs r;
"""


def upgrade() -> None:
    """Create everything."""
    for script in (LOG, APPEND, APPEND_ONLY, STORES, PROJECTIONS):
        op.execute(script)


def downgrade() -> None:
    """Drop everything, the log included."""
    op.execute(
        "DROP VIEW workflow_executions; DROP TABLE steps, runs, definitions, objects, events;"
        "DROP FUNCTION muster_append_only, muster_may_append"
    )
