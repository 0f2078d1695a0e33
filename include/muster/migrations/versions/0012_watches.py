"""The input that a watched folder's files are given as, so that no other trigger of the automation starts their run."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column `input`; it is null in rows of before, whose folder tells."""
    op.execute("ALTER TABLE arrivals ADD COLUMN input text")


def downgrade() -> None:
    """Drop it."""
    op.execute("ALTER TABLE arrivals DROP COLUMN input")
