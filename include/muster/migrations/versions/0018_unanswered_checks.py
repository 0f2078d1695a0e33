"""Since when a check has given no answer: people are told of it after a day."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table `unanswered_checks`."""
    op.execute("CREATE TABLE unanswered_checks (name text PRIMARY KEY, since timestamptz NOT NULL)")


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP TABLE unanswered_checks")
