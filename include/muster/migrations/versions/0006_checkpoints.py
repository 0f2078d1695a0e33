"""Checkpoints' anchors, and snapshots of long streams."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables `checkpoints` and `snapshots`."""
    op.execute(
        """
        CREATE TABLE checkpoints (
            number     bigint PRIMARY KEY,
            hash       text NOT NULL,
            written_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        COMMENT ON TABLE checkpoints IS
            'What the file of checkpoints must hold: a line cut off its end, or written anew, shows here.';
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
            FOR EACH STATEMENT EXECUTE FUNCTION muster_append_only();

        CREATE TABLE snapshots (
            stream   text PRIMARY KEY,
            version  integer NOT NULL,
            hash     bytea NOT NULL,
            code     text NOT NULL,
            state    text NOT NULL,
            made_at  timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        COMMENT ON TABLE snapshots IS
            'The state of long streams at one version, to fold on from; thrown away freely, never a source of truth.';
        COMMENT ON COLUMN snapshots.hash IS 'Of the event at that version: a snapshot of another past is not used.';
        COMMENT ON COLUMN snapshots.code IS 'SHA-256 of the code that folded: a snapshot of other rules is not used.';
        """
    )


def downgrade() -> None:
    """Drop the tables `checkpoints` and `snapshots`."""
    op.execute("DROP TABLE checkpoints, snapshots")
