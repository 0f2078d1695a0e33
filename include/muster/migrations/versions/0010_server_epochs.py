"""Which server wrote an event: transaction ids of one say nothing about those of another."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SERVERS = """
CREATE TABLE server_epochs (
    epoch    integer NOT NULL,
    server   text NOT NULL,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE server_epochs IS
    'The servers that the log was written on, in order: after a restore, another one. A row may be there twice.';
-- Whatever server it was: nothing is being written while the table of the log is altered, so all of it is past.
INSERT INTO server_epochs (epoch, server) VALUES (1, 'before epochs were told apart');

CREATE FUNCTION muster_server() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    system bigint;
BEGIN
    -- Some providers keep it from their customers.
    IF has_function_privilege('pg_control_system()', 'execute') THEN
        SELECT system_identifier INTO system FROM pg_control_system();
    END IF;
    -- A promotion, or a recovery to a point in time, begins another timeline; a restore, another database.
    RETURN concat_ws('/', system, left(pg_walfile_name(pg_current_wal_lsn()), 8),
                     (SELECT oid FROM pg_database WHERE datname = current_database()));
END $$;
COMMENT ON FUNCTION muster_server IS 'What changes whenever transaction ids may begin anew.';

CREATE FUNCTION muster_server_epoch() RETURNS integer LANGUAGE plpgsql STABLE AS $$
DECLARE
    latest server_epochs;
BEGIN
    SELECT * INTO latest FROM server_epochs ORDER BY epoch DESC LIMIT 1;
    -- A standby shows what its primary wrote, and has no timeline of its own.
    IF pg_is_in_recovery() OR latest.server = muster_server() THEN
        RETURN latest.epoch;
    END IF;
    RETURN coalesce(latest.epoch, 0) + 1;
END $$;
COMMENT ON FUNCTION muster_server_epoch IS
    'The epoch of what this server writes: events of earlier ones are all there.';

CREATE FUNCTION muster_begin_server_epoch() RETURNS integer LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    own integer := muster_server_epoch();
BEGIN
    -- In the transaction that needs it, and without a unique index: no first writer waits for another.
    INSERT INTO server_epochs (epoch, server)
        SELECT own, muster_server() WHERE NOT EXISTS (SELECT FROM server_epochs WHERE epoch = own);
    -- A session ends with its server; a rollback takes this back as well.
    PERFORM set_config('muster.server_epoch', own::text, false);
    RETURN own;
END $$;
COMMENT ON FUNCTION muster_begin_server_epoch IS 'muster_server_epoch() for a writer, remembered for the session.';
"""

EVENTS = """
ALTER TABLE events ADD COLUMN server_epoch integer NOT NULL DEFAULT 1;
ALTER TABLE events ALTER COLUMN server_epoch SET DEFAULT
    coalesce(nullif(current_setting('muster.server_epoch', true), '')::integer, muster_begin_server_epoch());
COMMENT ON COLUMN events.server_epoch IS 'Stands before `transaction` in the order: the server that gave it.';
DROP INDEX events_follow;
CREATE INDEX events_follow ON events (server_epoch, transaction, position);
"""


def upgrade() -> None:
    """Create the table `server_epochs`, and order the log by it first."""
    op.execute(SERVERS)
    op.execute(EVENTS)


def downgrade() -> None:
    """Order the log by transactions alone."""
    op.execute(
        "DROP INDEX events_follow; ALTER TABLE events DROP COLUMN server_epoch;"
        "CREATE INDEX events_follow ON events (transaction, position);"
        "DROP FUNCTION muster_begin_server_epoch, muster_server_epoch, muster_server; DROP TABLE server_epochs"
    )
