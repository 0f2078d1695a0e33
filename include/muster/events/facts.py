"""Rows of the log read in bulk: only what folds and projections need of an event."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from muster.events.tampering import no_data, tampered
from muster.events.upcasting import MARK, UPCASTERS

FACT_COLUMNS = "stream, version, type, actor, at, data::text"
"""What `to_fact` reads, in its order."""


class Fact(NamedTuple):
    """An event without its place in the log and its hashes; large values are left as references."""

    stream: str
    version: int
    type: str
    actor: str
    at: datetime
    data: Any


_decode: Callable[[str], object] = msgspec.json.Decoder().decode
_marked = f'"{MARK}"'
_new = tuple.__new__


def parse(text: str) -> object:
    """The value of stored data."""
    try:
        return _decode(text)
    except msgspec.DecodeError:
        # Half a surrogate pair, as a broken document may hold, and numbers beyond a float: the log keeps them.
        return json.loads(text)


def to_fact(row: Sequence[Any]) -> Fact:
    """One row of `FACT_COLUMNS` in today's shape.

    Raises:
        TamperedLog: it is no event any more.
    """
    stream, version, type, actor, at, text = row
    data = parse(text)
    if data.__class__ is not dict:
        raise tampered(stream, no_data(version))
    if type in UPCASTERS.evolved or type in UPCASTERS.split or _marked in text:
        type, data = UPCASTERS.today(type, data)
    # What `Fact(...)` does, without the call: this is done a million times in a replay.
    return _new(Fact, (stream, version, type, actor, at, data))
