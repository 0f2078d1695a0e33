"""Canonical JSON, and the hash that chains the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from muster.errors import PermanentError

GENESIS = "0" * 64
"""The `previous_hash` of a stream's first event."""

_quote = json.encoder.encode_basestring
_encoder = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
# What the encoder makes anew for every value, made once: this is done for every event.
_make: Any = getattr(json.encoder, "c_make_encoder", None)
_work_items = _make and _make(None, _encoder.default, _quote, None, ":", ",", True, False, False)


def canonical(value: object) -> str:
    """The one JSON text of `value`: keys sorted, no spaces, characters as they are.

    Raises:
        PermanentError: `value` holds something JSON cannot say (NaN, a Decimal, a date, a set).
    """
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise PermanentError(
            f"This cannot be written to the log: {error}.", remedy="Log JSON only: decimals and dates as strings."
        ) from error
    if text.isascii():
        return text
    escaped = _escape_surrogates(text)
    # Read back, two surrogates side by side become one character, which sorts elsewhere and needs no escape.
    return escaped if escaped == text else _escape_surrogates(_encode(json.loads(escaped)))


def _encode(value: object) -> str:
    return "".join(_work_items(value, 0)) if _work_items else _encoder.encode(value)


def _escape_surrogates(text: str) -> str:
    # A surrogate, as a broken document may hold, has no UTF-8 form; its backslash escape is valid JSON.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def instant(at: datetime) -> str:
    """A moment as the hash and the database are given it."""
    return at.isoformat(timespec="microseconds")


def event_hash(
    *,
    previous: str,
    stream: str,
    version: int,
    id: UUID | str,
    at: str,
    type: str,
    key: str | None,
    actor: str,
    correlation: str,
    causation: UUID | None,
    data: str,
) -> str:
    """SHA-256 (FIPS 180-4) over the event's header as a JSON array, a newline, and its data as stored.

    `at` is an `instant`; `data` is the canonical text itself, so checking a hash never has to serialise anything again.
    JSON without indentation holds no newline: no two events share one message.
    """
    header = (
        f'["{previous}",{_quote(stream)},{version},"{id}","{at}",{_quote(type)},'
        f"{'null' if key is None else _quote(key)},{_quote(actor)},{_quote(correlation)},"
        f"{'null' if causation is None else _quote(str(causation))}]"
    )
    return sha256(f"{header}\n{data}".encode()).hexdigest()


def digest(value: Mapping[str, object]) -> str:
    """SHA-256 of the canonical JSON of `value`, in hexadecimal."""
    return sha256(canonical(value).encode()).hexdigest()
