"""One run that cannot be understood must not keep the others from being looked after."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import psycopg

from muster.errors import ConcurrencyError, MusterError, TransientError
from muster.operations.reconciling.findings import Discrepancy


def guarded(run: str, look: Callable[[], Iterable[Discrepancy]]) -> Iterator[Discrepancy]:
    """What `look` finds about a run, or that it cannot be looked at.

    Raises:
        TransientError: Airflow or the database gives no answer.
    """
    try:
        yield from look()
    except ConcurrencyError:
        # Something happened to it at this moment, so it is not abandoned.
        return
    except (TransientError, psycopg.Error):
        raise
    except MusterError as error:
        remedy = error.remedy or f"Look at `muster show {run}`."
        yield Discrepancy("run", run, f"cannot be reconciled: {error.message}", remedy, run=run)
    except Exception as error:
        # What is in the log is not what Muster writes there; its text may hold anything.
        message = f"cannot be reconciled: its log cannot be read ({type(error).__name__})"
        yield Discrepancy("run", run, message, f"`muster verify {run}` looks at it.", run=run)
