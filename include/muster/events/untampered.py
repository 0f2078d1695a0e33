"""A guard: no run goes on whose log was tampered with, because nobody knows what it has done."""

from __future__ import annotations

from muster.events.log import EventLog
from muster.events.tampering import TamperedLog, tampered

__all__ = ["TamperedLog", "ensure_untampered"]


def ensure_untampered(log: EventLog, run: str) -> None:
    """Verify every event of a run before something is decided by them.

    Raises:
        TamperedLog: one was altered, removed or put in, or all of them are gone.
    """
    if (fault := log.verify(run)) is not None:
        raise tampered(run, fault.message)
