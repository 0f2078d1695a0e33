"""Retention of effects: only those go that nothing could make happen again."""

from __future__ import annotations

import psycopg
import pytest

from muster.database import Database
from muster.recovery.ledger import Ledger
from muster.recovery.pruning import Pruned, prune

DAY = 86_400.0
ALL = ("old", "known", "recent", "open", "stuck", "doubt")


@pytest.fixture
def ledger(database: Database, dsn: str) -> Ledger:
    """Two effects of each of several runs, all of them settled 100 days ago."""
    with psycopg.connect(dsn) as connection:
        for run in ALL:
            status = {"open": "open", "stuck": "stuck"}.get(run, "failed")
            days = {"recent": 1, "open": None}.get(run, 100)
            connection.execute(
                "INSERT INTO runs (id, status, closed_at, calls, cost_usd) "
                "VALUES (%s, %s, clock_timestamp() - make_interval(days => %s), 0, 0)",
                (run, status, days),
            )
            for number, ended in enumerate(["done", "unknown" if run == "doubt" else "failed"]):
                connection.execute(
                    "INSERT INTO effects (key, kind, request, run, status, settled_at) "
                    "VALUES (%s, 'x', 'x', %s, %s, clock_timestamp() - interval '100 days')",
                    (f"{run}/{number}", run, ended),
                )
    return Ledger(database)


def left(ledger: Ledger) -> set[str]:
    return {str(entry.run) for entry in ledger.entries()}


def test_only_effects_of_runs_that_nobody_can_do_again_are_removed(ledger: Ledger) -> None:
    done = prune(ledger.database, 90 * DAY, lambda run: run == "known", dry_run=False)
    assert done == Pruned(runs=1, effects=2, kept=1)
    assert left(ledger) == set(ALL) - {"old"}
    assert prune(ledger.database, 90 * DAY, lambda run: run == "known", dry_run=False).effects == 0


def test_a_dry_run_says_the_same_and_removes_nothing(ledger: Ledger) -> None:
    assert prune(ledger.database, 90 * DAY, lambda run: run == "known", dry_run=True) == Pruned(1, 2, 1)
    assert left(ledger) == set(ALL)
