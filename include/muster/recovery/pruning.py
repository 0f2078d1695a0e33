"""Retention of the ledger: effects, attempts, messages and blackboards of runs that nobody can do again may go.

An effect in the ledger keeps a restart from performing it twice, and the row of an attempt keeps a process that was
taken for dead from writing. So both are removed only for runs that ended long ago and that Airflow has forgotten: such
runs cannot be restarted, nor redriven. Leases stay, because a name's fencing token must only grow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from muster.database import Database

# A run one of whose effects is in doubt, or under way, is left whole; so is a stuck one, which a person goes on with.
_OLD = """
SELECT r.id FROM runs r
 WHERE r.status IN ('succeeded', 'failed', 'compensated')
   AND r.closed_at < clock_timestamp() - make_interval(secs => %(age)s::float8)
   AND NOT EXISTS (
       SELECT FROM effects e
        WHERE e.run = r.id AND (e.status IN ('done', 'failed')
              AND e.settled_at < clock_timestamp() - make_interval(secs => %(age)s)) IS NOT TRUE)
"""
_FIND = f"""
SELECT run, sum(effects) FROM (
    SELECT run, 1 AS effects FROM effects UNION ALL SELECT run, 0 FROM attempts
    UNION ALL SELECT run, 0 FROM messages UNION ALL SELECT run, 0 FROM subscriptions
    UNION ALL SELECT run, 0 FROM blackboard WHERE board = 'run ' || run) AS known
 WHERE run IN ({_OLD}) GROUP BY run ORDER BY run
"""
# Whether a run is old is asked again in the statement that removes: it may have been begun again since it was listed.
_DELETE = f"DELETE FROM effects WHERE run = ANY(%(runs)s) AND run IN ({_OLD})"
_DELETE_WITH_THEM = [
    f"DELETE FROM {table} WHERE run = ANY(%(runs)s) AND run IN ({_OLD})"
    for table in ("attempts", "messages", "subscriptions")
    # The board of a goal outlives the runs that write there.
] + [f"DELETE FROM blackboard WHERE run = ANY(%(runs)s) AND board = 'run ' || run AND run IN ({_OLD})"]


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be in a dry run."""

    runs: int
    effects: int
    kept: int
    """Runs that are as old, and that Airflow still knows: they can be restarted, so their effects stay."""


def prune(database: Database, age: float, is_known: Callable[[str], bool], *, dry_run: bool) -> Pruned:
    """Remove what is known of runs that ended more than `age` seconds ago and that `is_known` does not know."""
    with database.connection() as connection:
        effects_by_run = dict(connection.execute(_FIND, {"age": age}).fetchall())
    # Between the two transactions, because Airflow is asked here, which may take long.
    gone = [run for run in effects_by_run if not is_known(run)]
    effects = sum(effects_by_run[run] for run in gone)
    if gone and not dry_run:
        with database.connection() as connection:
            for delete in _DELETE_WITH_THEM:
                connection.execute(delete, {"age": age, "runs": gone})
            effects = connection.execute(_DELETE, {"age": age, "runs": gone}).rowcount
    return Pruned(len(gone), effects, len(effects_by_run) - len(gone))
