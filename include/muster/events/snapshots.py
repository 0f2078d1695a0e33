"""The state of a stream, folded on from a snapshot where the stream is long.

A snapshot is the state at one version, kept beside the log and never trusted alone: it counts only while the event
of its version is the one it was made from and the code that folds is the code that folded. Throwing all of them away
(`TRUNCATE snapshots`) changes no answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from muster.events import facts, objects, projections, sealing, undoing, upcasting, work
from muster.events import state as folding
from muster.events.driver import Query, Work
from muster.events.model import Event
from muster.events.state import RunState

if TYPE_CHECKING:
    from pydantic import TypeAdapter

EVERY = 1_000
"""Events folded before their result is kept: shorter streams never have a snapshot."""


def state_of(stream: str, read: Callable[[int], Work[list[Event]]], size: int) -> Work[RunState]:
    """The state after all events of a stream, in as few of them as the last snapshot leaves to fold.

    `read` gives the events after a version, `size` of them at most.
    """
    state = (yield from _snapshot(stream)) or RunState()
    first, hash = state.version, ""
    while True:
        page = yield from read(state.version)
        for event in page:
            state.apply(event)
        if page:
            hash = page[-1].hash
        if len(page) < size:
            break
    if state.version - first >= EVERY and (text := dump(state)) is not None:
        yield [_keep(stream, state.version, hash, text)]
    return state


def dump(state: RunState) -> str | None:
    """A state as text; None when it holds something that would not come back the same."""
    text = json.dumps(_adapter().dump_python(state, warnings=False), default=_text)
    # Read back at once: a snapshot that came back otherwise would change answers, and nobody would notice.
    return text if restore(text) == state else None


def restore(text: str) -> RunState | None:
    """The state that `dump` wrote; None when it is not one."""
    try:
        return _adapter().validate_python(json.loads(text))
    except ValueError:
        return None


@cache
def code() -> str:
    """SHA-256 of the sources that a fold's result depends on: another release folds anew."""
    modules = (folding, work, undoing, projections, sealing, facts, upcasting, objects)
    sources = (Path(str(module.__file__)) for module in modules)
    return sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()


def _snapshot(stream: str) -> Work[RunState | None]:
    # The join leaves out a snapshot whose event is gone or was written anew, as after a restore: the stream is folded
    # from its beginning then.
    answers = yield [
        Query(
            "SELECT s.state, s.code, encode(s.hash, 'hex') FROM snapshots s JOIN events e USING (stream, version, hash)"
            " WHERE s.stream = %(stream)s",
            {"stream": stream},
        )
    ]
    for text, sealed, hash in answers[0]:
        if sealed == _sealed(hash, text):
            return restore(text)
    return None


def _sealed(hash: str, text: str) -> str:
    """The digest that a state is kept with, of its event, the code that folded it and its text."""
    return sha256("\n".join((code(), hash, text)).encode()).hexdigest()


def _keep(stream: str, version: int, hash: str, text: str) -> Query:
    return Query(
        # Whoever writes last stands, also over a snapshot of a later version: an older one only leaves more to fold.
        "INSERT INTO snapshots AS s (stream, version, hash, code, state)"
        " VALUES (%(stream)s, %(version)s, decode(%(hash)s, 'hex'), %(code)s, %(state)s)"
        " ON CONFLICT (stream) DO UPDATE SET version = excluded.version, hash = excluded.hash, code = excluded.code,"
        " state = excluded.state, made_at = excluded.made_at",
        {"stream": stream, "version": version, "hash": hash, "code": _sealed(hash, text), "state": text},
    )


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} is nothing a state holds")


@cache
def _adapter() -> TypeAdapter[RunState]:
    from pydantic import TypeAdapter

    return TypeAdapter(RunState)
