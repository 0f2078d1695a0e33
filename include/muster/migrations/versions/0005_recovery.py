"""Leases, the ledger of outside effects, and circuit breakers."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables `leases`, `effects` and `breakers`."""
    # A lease's row stays when it is released: its token must go on growing.
    op.execute(
        """
        CREATE TABLE leases (
            name        text PRIMARY KEY,
            token       bigint NOT NULL,
            owner       text,
            acquired_at timestamptz NOT NULL,
            expires_at  timestamptz,
            CHECK ((owner IS NULL) = (expires_at IS NULL))
        )
        """
    )
    op.execute(
        """
        CREATE TABLE effects (
            key           text PRIMARY KEY,
            kind          text NOT NULL,
            request       text NOT NULL,
            run           text,
            status        text NOT NULL CHECK (status IN ('begun', 'done', 'failed', 'unknown')),
            attempt       integer NOT NULL DEFAULT 1,
            claimed_until timestamptz,
            result        json,
            error         text,
            begun_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
            settled_at    timestamptz,
            CHECK ((status = 'begun') = (claimed_until IS NOT NULL))
        )
        """
    )
    op.execute("CREATE INDEX effects_run ON effects (run) WHERE run IS NOT NULL")
    op.execute("CREATE INDEX effects_open ON effects (begun_at) WHERE status IN ('begun', 'unknown')")
    op.execute(
        """
        CREATE TABLE breakers (
            name        text PRIMARY KEY,
            state       text NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half_open')),
            generation  bigint NOT NULL DEFAULT 0,
            failures    integer NOT NULL DEFAULT 0,
            opened_at   timestamptz,
            open_until  timestamptz,
            probe_until timestamptz,
            error       text,
            changed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
            CHECK ((state = 'half_open') = (probe_until IS NOT NULL)),
            CHECK (state = 'closed' OR open_until IS NOT NULL)
        )
        """
    )


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TABLE leases, effects, breakers")
