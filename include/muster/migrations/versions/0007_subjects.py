"""The keys of the people whom personal data in the log is about."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table `subjects`."""
    # A forgotten subject's row stays, without its key: a second `forget` is told apart from an unknown name.
    # The name itself is personal: the row is found by a keyed digest of it, and holds nothing else of it.
    op.execute(
        """
        CREATE TABLE subjects (
            id           text PRIMARY KEY,
            wrapped_key  bytea,
            created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
            forgotten_at timestamptz,
            CHECK ((wrapped_key IS NULL) = (forgotten_at IS NOT NULL))
        );
        COMMENT ON COLUMN subjects.id IS
            'HMAC-SHA-256 of the name under the master key; `.1`, `.2` and so on for who came back.';
        COMMENT ON COLUMN subjects.wrapped_key IS 'AES-256 key, AES-GCM under the master key; null once forgotten.';
        """
    )


def downgrade() -> None:
    """Drop the table `subjects`."""
    op.execute("DROP TABLE subjects")
