"""What a database failure means to the caller: try again, or mend something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from muster.errors import MusterError, PermanentError, TransientError


@contextmanager
def database_failures() -> Iterator[None]:
    """Turn psycopg's exceptions into Muster's.

    A lost connection leaves the outcome of an append unknown: `TransientError`. Appending again under
    the same keys is safe and writes once.
    """
    try:
        yield
    except (psycopg.DataError, errors.ProgramLimitExceeded, errors.StatementTooComplex) as error:
        raise PermanentError(f"The database refused a value: {_first_line(error)}.") from error
    except UnicodeEncodeError as error:
        # Names from a command line may hold bytes that are no text at all.
        raise PermanentError(f"{error.object!r} is not text that can be stored or looked for.") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise TransientError(
            f"The database did not answer: {_first_line(error)}.",
            remedy="The step is tried again; if this goes on, check PostgreSQL (`muster doctor`).",
        ) from error
    except errors.UndefinedTable as error:
        raise MusterError(
            f"The database lacks Muster's tables: {_first_line(error)}.",
            remedy="Run `muster up` to migrate it.",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
