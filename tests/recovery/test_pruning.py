"""Retention of effects: only those go that nothing could make happen again."""

from __future__ import annotations

import psycopg
import pytest

from muster.database import Database
from muster.recovery.ledger import Ledger
from muster.recovery.pruning import Pruned, prune

DAY = 86_400.0
WITHOUT = ("old without", "known without", "open without", "stuck without")
"""Runs that did nothing outside; all of them have attempts."""
ALL = ("old", "known", "recent", "open", "stuck", "doubt")


@pytest.fixture
def ledger(database: Database, dsn: str) -> Ledger:
    """Two effects of each of several runs, all of them settled 100 days ago."""
    with psycopg.connect(dsn) as connection:
        for run in (*ALL, *WITHOUT):
            kind = run.split()[0]
            status = kind if kind in ("open", "stuck") else "failed"
            days = {"recent": 1, "open": None}.get(kind, 100)
            connection.execute(
                "INSERT INTO runs (id, status, closed_at, calls, cost_usd) "
                "VALUES (%s, %s, clock_timestamp() - make_interval(days => %s), 0, 0)",
                (run, status, days),
            )
            connection.execute("INSERT INTO attempts VALUES (%s, %s, 5, 1)", (f"{run}/work", run))
            for number, ended in enumerate(["done", "unknown" if run == "doubt" else "failed"] if run in ALL else []):
                connection.execute(
                    "INSERT INTO effects (key, kind, request, run, status, settled_at) "
                    "VALUES (%s, 'x', 'x', %s, %s, clock_timestamp() - interval '100 days')",
                    (f"{run}/{number}", run, ended),
                )
    return Ledger(database)


def left(ledger: Ledger) -> set[str]:
    return {str(entry.run) for entry in ledger.entries()}


def attempted(ledger: Ledger) -> set[str]:
    with ledger.database.connection() as connection:
        return {run for (run,) in connection.execute("SELECT run FROM attempts").fetchall()}


def is_known(run: str) -> bool:
    return run.startswith("known")


def test_only_what_runs_did_that_nobody_can_do_again_is_removed(ledger: Ledger) -> None:
    done = prune(ledger.database, 90 * DAY, is_known, dry_run=False)
    assert done == Pruned(runs=2, effects=2, kept=2)
    assert left(ledger) == set(ALL) - {"old"}
    assert attempted(ledger) == {*ALL, *WITHOUT} - {"old", "old without"}
    assert prune(ledger.database, 90 * DAY, is_known, dry_run=False) == Pruned(runs=0, effects=0, kept=2)


def test_a_dry_run_says_the_same_and_removes_nothing(ledger: Ledger) -> None:
    assert prune(ledger.database, 90 * DAY, is_known, dry_run=True) == Pruned(2, 2, 2)
    assert (left(ledger), attempted(ledger)) == (set(ALL), {*ALL, *WITHOUT})
