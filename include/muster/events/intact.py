"""A run whose log was tampered with is not gone on with: nobody knows what it has done."""

from __future__ import annotations

from muster.errors import PermanentError
from muster.events.log import EventLog


class TamperedLog(PermanentError):
    """The run's events are not as they were written: nothing was changed, and a person finds out who did it."""


def demand_intact(log: EventLog, run: str) -> None:
    """Look at every event of a run before something is decided by them.

    Raises:
        TamperedLog: one was altered, removed or put in.
    """
    if (fault := log.verify(run)) is not None:
        raise TamperedLog(
            f"The log of {run} is not as it was written: {fault.message}",
            remedy=f"`muster verify {run}` and `muster audit {run}` show it. Restore the database from a backup.",
        )
