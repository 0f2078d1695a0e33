"""`muster output`: what a run, or one of its steps, gave back."""

from __future__ import annotations

import sys

from muster.cli.connections import open_queries
from muster.cli.given import given_back
from muster.cli.output import emit, harmless
from muster.errors import MusterError
from muster.events.log import EventLog
from muster.events.state import fold
from muster.language.problems import did_you_mean


def print_output(id: str, step: str | None, *, as_json: bool) -> None:
    """Print what a step gave back, or every step by id: JSON, but for a text alone, which is printed as it is.

    Raises:
        MusterError: there is no such run or step, the log was altered, or the step has given nothing back.
    """
    queries, database = open_queries()
    try:
        row = queries.run(id)
        if (fault := EventLog(database).verify(row.id)) is not None:
            raise MusterError(
                f"The log of {row.id} is not as it was written: {fault.message}",
                remedy=f"`muster show {row.id}` shows what is left, `muster audit` what to do.",
            )
        state = fold(queries.timeline(row.id))
    finally:
        database.close()
    steps = state.steps
    if step is None:
        emit(given_back(state))
        return
    if step not in steps:
        raise MusterError(
            f"Nothing is known of a step {step!r} in {row.id}.",
            remedy=did_you_mean(step, steps) or f"`muster show {row.id}` shows what was done.",
        )
    found = steps[step]
    if found.status != "succeeded":
        raise MusterError(
            f"Step {step} of {row.id} has given nothing back: it is {found.status}.",
            remedy=f"`muster show {row.id}` shows why.",
        )
    if isinstance(found.output, str) and not as_json:
        sys.stdout.write(harmless(found.output) + "\n")
    else:
        emit(found.output)
