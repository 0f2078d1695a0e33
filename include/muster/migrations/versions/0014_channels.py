"""Which channels there are, and what carries a notice, the code says: one may be added without another schema."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the outbox hold notices of any channel."""
    op.execute("ALTER TABLE outbox DROP CONSTRAINT outbox_channel_check, DROP CONSTRAINT outbox_delivered_by_check")


def downgrade() -> None:
    """Let it hold those of Slack and e-mail alone; it must hold no other any more."""
    op.execute(
        "ALTER TABLE outbox ADD CONSTRAINT outbox_channel_check CHECK (channel IN ('slack', 'email')),"
        " ADD CONSTRAINT outbox_delivered_by_check CHECK (delivered_by IN ('slack', 'smtp', 'outbox'))"
    )
