"""The blackboard: what agents of a run, or of a goal, know together; one row for each version of each key."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table `blackboard`."""
    # The primary key is the compare-and-set: of two who have seen one version only one can write the next.
    op.execute(
        """
        CREATE TABLE blackboard (
            board              text NOT NULL,
            key                text NOT NULL,
            version            integer NOT NULL,
            value              json,
            kind               text NOT NULL CHECK (kind IN ('put', 'merge', 'removal', 'withdrawal')),
            run                text NOT NULL,
            writer             text NOT NULL,
            work               text NOT NULL,
            execution          bigint NOT NULL,
            attempt            integer NOT NULL,
            base               integer NOT NULL,
            causation          uuid,
            written_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
            rests_on_withdrawn boolean NOT NULL DEFAULT false,
            withdrawn_at       timestamptz,
            withdrawn_because  text,
            PRIMARY KEY (board, key, version)
        )
        """
    )
    op.execute("CREATE INDEX blackboard_work ON blackboard (run, work)")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE blackboard")
