"""The state of a stream, folded on from a snapshot where the stream is long.

A snapshot is the state at one version, kept beside the log and never trusted alone: it counts only while the event
of its version is the one it was made from and the code that folds is the code that folded. Throwing all of them away
(`TRUNCATE snapshots`) changes no answer.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muster.events import facts, objects, projections, statements, upcasting, work
from muster.events import state as folding
from muster.events.driver import Query, Work
from muster.events.rows import to_events
from muster.events.state import RunState

if TYPE_CHECKING:
    from pydantic import TypeAdapter

EVERY = 1_000
"""Events folded before their result is kept: shorter streams never have a snapshot."""

_PAGE = 1_000


def state_of(stream: str) -> Work[RunState]:
    """The state after all events of a stream, in as few of them as the last snapshot leaves to fold."""
    state = (yield from _snapshot(stream)) or RunState()
    first, hash = state.version, ""
    while True:
        page = yield from to_events((yield [statements.read(stream, state.version, None, None, _PAGE)])[0])
        for event in page:
            state.apply(event)
        if page:
            hash = page[-1].hash
        if len(page) < _PAGE:
            break
    if state.version - first >= EVERY and (text := dump(state)) is not None:
        yield [_keep(stream, state.version, hash, text)]
    return state


def dump(state: RunState) -> str | None:
    """A state as text; None when it holds something that would not come back the same."""
    text = json.dumps(_adapter().dump_python(state, warnings=False), default=_text)
    return text if restore(text) == state else None


def restore(text: str) -> RunState | None:
    """The state that `dump` wrote; None when it is not one."""
    try:
        return _adapter().validate_python(json.loads(text))
    except ValueError:
        return None


@cache
def code() -> str:
    """SHA-256 of the sources that decide what a fold gives: another release folds anew."""
    sources = (Path(str(module.__file__)) for module in (folding, work, projections, facts, upcasting, objects))
    return sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _snapshot(stream: str) -> Work[RunState | None]:
    found = yield [
        Query(
            "SELECT s.state FROM snapshots s JOIN events e USING (stream, version, hash)"
            " WHERE s.stream = %(stream)s AND s.code = %(code)s",
            {"stream": stream, "code": code()},
        )
    ]
    return restore(found[0][0][0]) if found[0] else None


def _keep(stream: str, version: int, hash: str, text: str) -> Query:
    return Query(
        "INSERT INTO snapshots AS s (stream, version, hash, code, state)"
        " VALUES (%(stream)s, %(version)s, decode(%(hash)s, 'hex'), %(code)s, %(state)s)"
        " ON CONFLICT (stream) DO UPDATE SET version = excluded.version, hash = excluded.hash, code = excluded.code,"
        " state = excluded.state, made_at = excluded.made_at",
        {"stream": stream, "version": version, "hash": hash, "code": code(), "state": text},
    )


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing a state holds")


@cache
def _adapter() -> TypeAdapter[RunState]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunState)
