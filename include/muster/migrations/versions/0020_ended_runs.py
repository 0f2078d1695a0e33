"""Whether a run has ended is asked of its log: the row of a run that goes on again shows its last end."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the function `muster_has_ended`, and have mailboxes ask it."""
    op.execute(
        """
        CREATE FUNCTION muster_has_ended(in_run text) RETURNS boolean LANGUAGE sql STABLE AS $$
            SELECT coalesce((
                SELECT type = 'run.closed' FROM events
                 WHERE stream = in_run AND step = '' AND type IN (
                     'run.closed', 'run.begun', 'run.continued', 'run.restarted', 'run.resumed', 'dead_letter.redriven')
                 ORDER BY version DESC LIMIT 1), true)
        $$
        """
    )
    op.execute(_replaced("closed_at IS NOT NULL)", "closed_at IS NOT NULL AND muster_has_ended(id))"))


def downgrade() -> None:
    """Ask the row alone."""
    op.execute(_replaced("closed_at IS NOT NULL AND muster_has_ended(id))", "closed_at IS NOT NULL)"))
    op.execute("DROP FUNCTION muster_has_ended")


def _replaced(old: str, new: str) -> str:
    return f"""
        DO $$ BEGIN
            EXECUTE replace(pg_get_functiondef('muster_receive_messages'::regproc), '{old}', '{new}');
        END $$
        """
