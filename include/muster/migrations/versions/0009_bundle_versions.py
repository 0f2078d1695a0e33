"""The versions of Dag bundles that runs were started from."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table `bundle_versions`."""
    op.execute(
        """
        CREATE TABLE bundle_versions (
            bundle       text NOT NULL,
            version      text NOT NULL,
            content      bytea NOT NULL,
            published_at timestamptz NOT NULL,
            PRIMARY KEY (bundle, version)
        );
        CREATE INDEX bundle_versions_version ON bundle_versions (version);
        -- It is compressed as it comes.
        ALTER TABLE bundle_versions ALTER COLUMN content SET STORAGE EXTERNAL;
        COMMENT ON TABLE bundle_versions IS
            'What runs were started from: machines fill the folders of their Dag bundles from here.';
        COMMENT ON COLUMN bundle_versions.content IS 'A zip of its files; the version is a hash of them.';
        """
    )


def downgrade() -> None:
    """Drop the table `bundle_versions`."""
    op.execute("DROP TABLE bundle_versions")
