"""Translates database failures: the caller tries again, or a person mends something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import psycopg
from psycopg import errors

from muster.errors import DatabaseLost, MusterError, PermanentError, RowLocked

DATABASE_ERRORS = (psycopg.Error, UnicodeEncodeError)
"""What talking to the database may raise."""


@contextmanager
def database_failures() -> Iterator[None]:
    """Turn psycopg's exceptions into Muster's.

    A lost connection leaves the outcome of an append unknown: `DatabaseLost`. Appending again under
    the same keys is safe and writes once.
    """
    try:
        yield
    except DATABASE_ERRORS as error:
        raise_translated(error)


@contextmanager
def lost_if_refused() -> Iterator[None]:
    """Turn a refusal by the database, also one that psycopg alone has a word for, into `DatabaseLost`.

    For what is written about work that has been done or has failed. That the server has become a standby or a right was
    taken away says nothing about the work: it is performed again.
    """
    try:
        yield
    except (psycopg.Error, RowLocked) as error:
        raise DatabaseLost(f"The database refused what happened: {_first_line(error)}.") from error


def raise_translated(error: psycopg.Error | UnicodeEncodeError) -> NoReturn:
    """Raise the error of Muster's that the failure means; a failure without one goes on as it is."""
    match error:
        case psycopg.DataError() | errors.ProgramLimitExceeded() | errors.StatementTooComplex():
            raise PermanentError(f"The database refused a value: {_first_line(error)}.") from error
        case UnicodeEncodeError():
            # Names from a command line may hold bytes that are no text at all.
            raise PermanentError(f"{error.object!r} is not text that can be stored or looked for.") from error
        # Before the operational errors, of which it is one: the database is there, only the row is not free.
        case errors.LockNotAvailable():
            raise RowLocked("Another transaction holds what has to be locked, and does not end.") from error
        case psycopg.OperationalError() | psycopg.InterfaceError():
            raise DatabaseLost(
                f"The database did not answer: {_first_line(error)}.",
                remedy="The step is tried again; if this goes on, check PostgreSQL (`muster doctor`).",
            ) from error
        case errors.UndefinedTable():
            raise MusterError(
                f"The database lacks Muster's tables: {_first_line(error)}.", remedy="Run `muster up` to migrate it."
            ) from error
    raise error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
