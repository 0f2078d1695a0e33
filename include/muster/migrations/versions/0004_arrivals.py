"""Files that arrived in a watched folder, and the run each was given to."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table `arrivals`."""
    op.execute(
        """
        CREATE TABLE arrivals (
            automation  text NOT NULL,
            uri         text NOT NULL,
            fingerprint text NOT NULL,
            batch       text NOT NULL,
            arrived_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
            started_at  timestamptz,
            PRIMARY KEY (automation, uri, fingerprint)
        )
        """
    )
    op.execute("CREATE INDEX arrivals_waiting ON arrivals (automation, batch) WHERE started_at IS NULL")


def downgrade() -> None:
    """Drop the table `arrivals`."""
    op.execute("DROP TABLE arrivals")
