"""What kind of failure an error is: the one place where errors of every origin are told apart."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from muster.errors import ErrorClass, MusterError, TransientError

_BY_STATUS: Mapping[int, ErrorClass] = {
    401: ErrorClass.AUTH,
    403: ErrorClass.AUTH,
    407: ErrorClass.AUTH,
    408: ErrorClass.TIMEOUT,
    # Somebody else is at it, or it is too early: the request itself is right.
    409: ErrorClass.TRANSIENT,
    423: ErrorClass.TRANSIENT,
    425: ErrorClass.TRANSIENT,
    429: ErrorClass.RATE_LIMIT,
    500: ErrorClass.TRANSIENT,
    501: ErrorClass.BAD_REQUEST,
    502: ErrorClass.OVERLOAD,
    503: ErrorClass.OVERLOAD,
    504: ErrorClass.TIMEOUT,
    # Not in RFC 9110, but what some hosts of models answer when they are overloaded.
    529: ErrorClass.OVERLOAD,
}

_TIMEOUTS = (("httpx", "TimeoutException"), ("requests", "Timeout"))
"""Errors that are no `TimeoutError`; a library that nobody has imported raised none of them."""

_WRONG_STATES = ("0A", "21", "22", "42")
"""Classes of SQLSTATE (ISO 9075) that say the same of the same statement every time: what is not supported, how many,
data, syntax and names.
"""
_WRONG_SQL = frozenset({"ProgrammingError", "DataError", "NotSupportedError"})
"""Errors (PEP 249) that say so where there is no SQLSTATE, of these drivers: others raise them for what passes too."""
_DRIVERS = frozenset({"sqlite3", "psycopg", "psycopg2", "pymysql", "MySQLdb"})


def classify(error: BaseException) -> ErrorClass:
    """The kind of any error: Muster's own, an HTTP client's (by status), a timeout, a wrong SQL statement, or
    anything else that may pass.
    """
    if isinstance(error, MusterError):
        return error.error_class
    if not isinstance(error, Exception):
        return ErrorClass.PERMANENT
    status = _status(error)
    if status is not None:
        return class_of_status(status)
    if isinstance(error, TimeoutError) or any(isinstance(error, kind) for kind in _known(_TIMEOUTS)):
        return ErrorClass.TIMEOUT
    return ErrorClass.BAD_REQUEST if _is_wrong_sql(error) else ErrorClass.TRANSIENT


def trace_below(error: BaseException, place: str) -> str:
    """Where an error comes from: its frames below the last one in a file whose path begins so, and what it says."""
    told = traceback.TracebackException.from_exception(error)
    above = [number for number, frame in enumerate(told.stack, 1) if frame.filename.startswith(place)]
    told.stack = traceback.StackSummary.from_list(told.stack[above[-1] if above else 0 :])
    return "".join(told.format())


def took_too_long(timeout: float | None) -> TransientError:
    """The error of an attempt that did not come to its end within its step's timeout, in seconds."""
    return TransientError(f"It took longer than the step's timeout of {timeout:g} s.", error_class=ErrorClass.TIMEOUT)


def class_of_status(status: int) -> ErrorClass:
    """The kind of failure that an HTTP status stands for (RFC 9110, section 15)."""
    if (found := _BY_STATUS.get(status)) is not None:
        return found
    return ErrorClass.TRANSIENT if status >= 500 else ErrorClass.BAD_REQUEST


def asked_to_wait(error: BaseException, now: datetime | None = None) -> float | None:
    """Seconds the other side asked us to wait, when it did."""
    known = getattr(error, "retry_after", None)
    if isinstance(known, int | float) and not isinstance(known, bool):
        return _sane(float(known))
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    return parse_retry_after(_header(headers, "Retry-After"), now)


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds from a `Retry-After` header: a number, or an HTTP date (RFC 9110, section 10.2.3); None for neither."""
    if value is None:
        return None
    try:
        return _sane(float(value))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def _sane(seconds: float) -> float | None:
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _status(error: Exception) -> int | None:
    """The HTTP status an error carries: httpx and requests keep the response, others the number itself."""
    response = getattr(error, "response", None)
    candidates = (getattr(response, "status_code", None), getattr(error, "status_code", None), _urllib_status(error))
    return next((each for each in candidates if isinstance(each, int) and 400 <= each < 600), None)


def _urllib_status(error: Exception) -> object:
    return getattr(error, "code", None) if type(error).__module__ == "urllib.error" else None


def _is_wrong_sql(error: BaseException) -> bool:
    """True of a statement that is wrong in itself; SQLAlchemy keeps what the driver raised."""
    error = getattr(error, "orig", None) or error
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str):
        return state.startswith(_WRONG_STATES)
    kinds = type(error).__mro__
    return any(each.__name__ in _WRONG_SQL and each.__module__.partition(".")[0] in _DRIVERS for each in kinds)


def _header(headers: object, name: str) -> str | None:
    if not hasattr(headers, "get"):
        return None
    value = headers.get(name) or headers.get(name.lower())
    return value if isinstance(value, str) else None


def _known(names: tuple[tuple[str, str], ...]) -> Iterator[type[BaseException]]:
    for module, name in names:
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, type):
            yield found
