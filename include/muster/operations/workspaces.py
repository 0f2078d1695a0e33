"""Workspaces of programs whose makers are gone: found by what the log says of their work, and removed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from muster.isolation.workspaces import FOLDER, LeftOver, left_over
from muster.operations.reconciling.findings import Scope

KEPT = timedelta(days=7)
"""How long a workspace that was to be kept stays after its run has ended."""


def clear_workspaces(scope: Scope, artifacts: Path) -> list[str]:
    """Remove the workspaces that nobody works in, with their worktrees and containers, and return their runs and names.

    One that was to be kept stays for a week after its run has ended, as long as the log knows the run.
    """
    cleared = []
    for left in _left_over(artifacts):
        if _is_over(scope, left):
            left.clear()
            cleared.append(f"{left.run}: {left.folder.name}")
    return cleared


def _left_over(artifacts: Path) -> Iterator[LeftOver]:
    for folder in sorted(artifacts.glob(f"*/{FOLDER}")):
        yield from left_over(folder)


def _is_over(scope: Scope, left: LeftOver) -> bool:
    row = scope.queries.run_of(left.run)
    if row is None:
        return True
    if left.kept:
        return row.status != "open" and row.closed_at is not None and row.closed_at < scope.now - KEPT
    # The lock is gone with its maker: the work is at no more than a later attempt, which has a workspace of its own.
    # Where another machine has made it, whose locks are not seen here, the log says whether the work has ended.
    if row.status != "open":
        return True
    work = scope.log.state(left.run).step(left.step).work(left.index)
    return work.ended_at is not None or scope.has_rested(left.made_at, _LONGEST)


_LONGEST = timedelta(days=1)
"""The longest that a program works."""
