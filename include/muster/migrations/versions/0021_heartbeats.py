"""When the process at a work item gave its last sign of life: the reconciler tells by it what was left."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time; what is there already counts as alive at this moment."""
    # In two statements: with a default that changes from row to row PostgreSQL would write the table anew.
    op.execute("ALTER TABLE attempts ADD COLUMN beaten_at timestamptz NOT NULL DEFAULT now()")
    op.execute("ALTER TABLE attempts ALTER COLUMN beaten_at SET DEFAULT clock_timestamp()")


def downgrade() -> None:
    """Drop it."""
    op.execute("ALTER TABLE attempts DROP COLUMN beaten_at")
