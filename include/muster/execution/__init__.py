"""Performs one step of one run: reads the log, decides, calls, and writes the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.faces import face

if TYPE_CHECKING:
    from muster.execution.ahead import RunningAhead
    from muster.execution.elsewhere import concealed, write_end, write_next_try
    from muster.execution.fanout import expand
    from muster.execution.outcome import Outcome
    from muster.execution.performing import begin, perform
    from muster.execution.personal import RunLog
    from muster.execution.references import WorkRef, run_id
    from muster.execution.retrying import is_final
    from muster.execution.run_executions import epoch_of
    from muster.execution.services import Services
    from muster.execution.task_keys import ITEMS_SUFFIX, UNDOES
    from muster.execution.telling import is_about_somebody, tell
    from muster.execution.view import bundle_version
    from muster.execution.work_item import ActionResult, WorkItem

__all__ = [
    "ITEMS_SUFFIX",
    "UNDOES",
    "ActionResult",
    "Outcome",
    "RunLog",
    "RunningAhead",
    "Services",
    "WorkItem",
    "WorkRef",
    "begin",
    "bundle_version",
    "concealed",
    "epoch_of",
    "expand",
    "is_about_somebody",
    "is_final",
    "perform",
    "run_id",
    "tell",
    "write_end",
    "write_next_try",
]

__getattr__ = face(
    __name__,
    {
        "ActionResult": "work_item",
        "ITEMS_SUFFIX": "task_keys",
        "Outcome": "outcome",
        "WorkItem": "work_item",
        "RunLog": "personal",
        "RunningAhead": "ahead",
        "Services": "services",
        "UNDOES": "task_keys",
        "WorkRef": "references",
        "begin": "performing",
        "bundle_version": "view",
        "concealed": "elsewhere",
        "epoch_of": "run_executions",
        "expand": "fanout",
        "is_about_somebody": "telling",
        "is_final": "retrying",
        "perform": "performing",
        "run_id": "references",
        "tell": "telling",
        "write_end": "elsewhere",
        "write_next_try": "elsewhere",
    },
)
