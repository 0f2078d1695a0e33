"""What the reconciler wrote is found by who wrote it: few of many events."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index the streams that the reconciler has written to."""
    op.execute("CREATE INDEX events_of_the_reconciler ON events (stream) WHERE actor = 'reconciler'")


def downgrade() -> None:
    """Drop the index."""
    op.execute("DROP INDEX events_of_the_reconciler")
