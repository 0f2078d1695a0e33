"""Attempts at work items: what fences the writes of one that was given up."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table `attempts`."""
    # With room in each page a row is updated where it is.
    op.execute(
        """
        CREATE TABLE attempts (
            work      text PRIMARY KEY,
            run       text NOT NULL,
            execution bigint NOT NULL,
            attempt   integer NOT NULL
        ) WITH (fillfactor = 70)
        """
    )
    op.execute("CREATE INDEX attempts_run ON attempts (run)")
    op.execute("COMMENT ON TABLE attempts IS 'Which attempt at a work item may write.'")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE attempts")
