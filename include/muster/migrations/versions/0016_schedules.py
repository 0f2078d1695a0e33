"""Since when each automation has its schedule: its times count from then."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let a bundle's version say it; of what is published now nobody knows more than when that was."""
    op.execute(
        """
        ALTER TABLE bundle_versions ADD COLUMN schedules jsonb;
        UPDATE bundle_versions SET schedules = to_jsonb(published_at) WHERE (bundle, version) IN (
            SELECT DISTINCT ON (bundle) bundle, version FROM bundle_versions
            ORDER BY bundle, published_at DESC, version DESC
        );
        COMMENT ON COLUMN bundle_versions.schedules IS
            'By automation: its schedule, and since when it has that. A time alone: all since then. NULL: not noted.';
        """
    )


def downgrade() -> None:
    """Forget it."""
    op.execute("ALTER TABLE bundle_versions DROP COLUMN schedules")
