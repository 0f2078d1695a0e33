"""Keeps one run that cannot be read from stopping the reconciler before the other runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import psycopg

from muster.errors import ConcurrencyError, MusterError, TransientError
from muster.operations.reconciling.findings import Discrepancy


def guarded(run: str, look: Callable[[], Iterable[Discrepancy]]) -> Iterator[Discrepancy]:
    """The discrepancies that `look` finds about a run, or one saying that the run cannot be reconciled.

    Raises:
        TransientError: Airflow or the database gives no answer; the whole pass ends, and the next one looks again.
    """
    try:
        yield from look()
    except ConcurrencyError:
        # Another process wrote into the run between the look and the mending, so the run is not abandoned.
        return
    except (TransientError, psycopg.Error):
        raise
    except MusterError as error:
        remedy = error.remedy or f"Look at `muster show {run}`."
        yield Discrepancy("run", run, f"cannot be reconciled: {error.message}", remedy, run=run)
    except Exception as error:
        # The log holds something that Muster does not write. Only the class is told: the text of the error may hold
        # personal data.
        message = f"cannot be reconciled: its log cannot be read ({type(error).__name__})"
        yield Discrepancy("run", run, message, f"`muster verify {run}` looks at it.", run=run)
