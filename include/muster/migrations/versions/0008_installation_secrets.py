"""What the installation proves by that nobody outside its database knows."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table `installation_secrets`."""
    op.execute(
        """
        CREATE TABLE installation_secrets (
            name    text PRIMARY KEY,
            value   bytea NOT NULL,
            made_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        COMMENT ON COLUMN installation_secrets.value IS 'Random bytes, made when first needed.';
        """
    )


def downgrade() -> None:
    """Drop the table `installation_secrets`."""
    op.execute("DROP TABLE installation_secrets")
