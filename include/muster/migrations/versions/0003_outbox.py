"""The outbox: every notice to a person, recorded before it is sent."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table `outbox`."""
    op.execute(
        """
        CREATE TABLE outbox (
            id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            key           text NOT NULL UNIQUE,
            run           text,
            channel       text NOT NULL CHECK (channel IN ('slack', 'email')),
            target        text NOT NULL,
            subject       text NOT NULL DEFAULT '',
            text          text NOT NULL,
            status        text NOT NULL CHECK (status IN ('pending', 'sent', 'failed', 'kept')),
            delivered_by  text CHECK (delivered_by IN ('slack', 'smtp', 'outbox')),
            reference     text,
            note          text NOT NULL DEFAULT '',
            error         text,
            attempts      integer NOT NULL DEFAULT 0,
            claimed_until timestamptz,
            created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
            settled_at    timestamptz,
            CHECK (status NOT IN ('sent', 'kept') OR delivered_by IS NOT NULL)
        )
        """
    )
    op.execute("CREATE INDEX outbox_run ON outbox (run) WHERE run IS NOT NULL")
    op.execute("CREATE INDEX outbox_open ON outbox (id) WHERE status <> 'sent'")


def downgrade() -> None:
    """Drop the table `outbox`."""
    op.execute("DROP TABLE outbox")
