"""The errors of a log that somebody has changed by hand."""

from __future__ import annotations

from muster.errors import PermanentError


class TamperedLog(PermanentError):
    """A run's events, or its definition, are not as written: nothing was changed, and a person finds out who did it."""

    repeats_data = False


def tampered(run: str, what: str) -> TamperedLog:
    """The error that says what is wrong with a run's events."""
    return TamperedLog(
        f"The log of {run} is not as it was written: {what}",
        remedy=f"`muster verify {run}` and `muster audit {run}` show it. Restore the database from a backup.",
    )


def tampered_definition(hash: str) -> TamperedLog:
    """The error that says that a definition does not fit its hash."""
    return TamperedLog(
        f"The definition {hash} is not as it was written.",
        remedy="`muster verify` shows which runs were opened with it. Restore the table `definitions` from a backup.",
    )


def no_data(version: int) -> str:
    """What is wrong with an event whose data is a list, a number or nothing."""
    return f"event {version} does not hold an event's data"
