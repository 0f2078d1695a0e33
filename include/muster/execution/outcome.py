"""The end of a work item as a task reports it to Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["succeeded", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one task instance's work, already written to the log."""

    status: Status
    output: Any = None
    """JSON-ready; people see it as the XCom, and nothing depends on it."""
    reason: str | None = None
    """Why the work was skipped or failed, in one sentence."""
    structural: Literal["nothing", "output", "all"] = "nothing"
    """The part that holds only Muster's own words and numbers about the run, so that it cannot be personal."""


def not_in_scope(reason: str) -> Outcome:
    """The outcome of a task whose work is not done in this execution; nothing of it is in the log."""
    return Outcome(status="failed", reason=reason, structural="all")
