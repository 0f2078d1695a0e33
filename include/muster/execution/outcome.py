"""How a work item ended, for the lane that has to tell Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["succeeded", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one task instance's work, already written to the log."""

    status: Status
    output: Any = None
    """JSON-ready: what people see as the XCom; nothing depends on it."""
    reason: str | None = None
    """Why it was skipped or failed, in one sentence."""
    structural: Literal["nothing", "output", "all"] = "nothing"
    """What of it is Muster's own words and numbers about the run: no personal data can get into that."""


def not_in_scope(reason: str) -> Outcome:
    """What the task of work says that is not done now, and of which nothing is written."""
    return Outcome(status="failed", reason=reason, structural="all")
