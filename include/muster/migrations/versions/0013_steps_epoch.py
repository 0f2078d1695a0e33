"""The execution of its run that a row of `steps` is of: work that is done again is at work again, however it ended."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BEFORE = """
UPDATE steps s SET epoch = e.epoch FROM (
    SELECT stream, data->>'step' AS step, max((data->>'epoch')::integer) AS epoch,
           CASE WHEN data->>'index' ~ '^[0-9]{1,9}$' THEN (data->>'index')::integer ELSE -1 END AS index
    FROM events
    WHERE stream IN (SELECT stream FROM events WHERE type = 'run.begun')
      AND (starts_with(type, 'step.') OR type IN ('compensation.succeeded', 'approval.requested', 'approval.answered'))
      AND type <> 'step.fell_back' AND data->>'epoch' ~ '^[0-9]{1,9}$'
    GROUP BY 1, 2, 4
) e WHERE (s.run, s.step, s.index) = (e.stream, e.step, e.index)
"""


def upgrade() -> None:
    """Add the column `epoch`, and tell it of runs that had tasks performed again from their events."""
    op.execute("ALTER TABLE steps ADD COLUMN epoch integer NOT NULL DEFAULT 0")
    op.execute(BEFORE)


def downgrade() -> None:
    """Drop it."""
    op.execute("ALTER TABLE steps DROP COLUMN epoch")
