"""What writing on a blackboard does: checks the value, writes the next version, and says in words why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from muster.coordination.blackboard import statements
from muster.coordination.blackboard.keys import Keys
from muster.coordination.blackboard.model import BoardConflict, BoardRefused, Entry, Kind, Writer
from muster.coordination.blackboard.rows import Reader, value_of
from muster.coordination.merging import ABSENT, Unmerged, merge_records, same
from muster.events.canonical import canonical
from muster.events.driver import HotQuery, Query, Work
from muster.events.statements import BEGIN, COMMIT
from muster.redaction import may_hold_secrets, redact_data

LARGEST = 200_000
"""Characters of a value."""
TRIES = 100
"""How often a change begins again because somebody has written in between."""
PATIENCE = 5.0
"""Seconds in which whoever is before one in the queue makes its change."""


@dataclass(frozen=True)
class Change:
    """What somebody wants to stand under a key."""

    board: str
    key: str
    kind: Kind
    value: Any
    seen: int
    """The version that it was made from."""
    run: str
    writer: Writer
    keys: Keys
    reader: Reader
    mine: object = ABSENT
    """Of a second merge, what the first one gave: it has not seen what others had there."""

    def checked(self) -> Change:
        """The change as it is written, checked before anything waits for the database.

        Raises:
            BoardRefused: the value does not fit the key, or is too large.
            PermanentError: it is not JSON.
        """
        if self.kind == "removal":
            return self
        value = self.value.model_dump(mode="json") if isinstance(self.value, BaseModel) else self.value
        # A merge is checked whole: what one side gives may be a part.
        if self.kind == "put":
            self.keys.ensure_fits(self.key, value)
        text = canonical(value)
        if len(text) > LARGEST:
            raise BoardRefused(
                f"What was to be written under `{self.key}` has {len(text):,} characters, and an entry at most "
                f"{LARGEST:,}.",
                remedy="Store it as a file or an output, and write its name.",
            )
        # As in the log: no secret is kept in a table.
        return replace(self, value=redact_data(value) if may_hold_secrets(text) else value)

    def written(self, value: object, over: int, causation: UUID | None, rests: bool) -> HotQuery:
        """The statement that writes a value over a version."""
        values = {
            "board": self.board,
            "key": self.key,
            "current": over,
            "value": None if value is ABSENT else canonical(self.reader.seal(value)),
            "kind": self.kind,
            "run": self.run,
            "writer": self.writer.name,
            "work": self.writer.work,
            "execution": self.writer.execution,
            "attempt": self.writer.attempt,
            "base": self.seen,
            "causation": causation,
            "rests": rests,
        }
        return HotQuery(statements.WRITE, values)

    def versions(self, *versions: int) -> Work[dict[int, Entry]]:
        """These versions of the key."""
        values = {"board": self.board, "key": self.key, "versions": list(versions)}
        return {row[1]: self.reader.entry(row) for row in (yield [Query(statements.ONE, values)])[0]}

    def current(self, *before: Query) -> Work[Entry | None]:
        """What stands there now, after these statements."""
        rows = (yield [*before, Query(statements.HEAD, {"board": self.board, "key": self.key})])[-1]
        return self.reader.entry(rows[0]) if rows else None

    def caused_before(self, event: UUID) -> Work[int]:
        """The version that was written with an event; 0 for none."""
        values = {"board": self.board, "key": self.key, "event": event}
        rows = (yield [Query(statements.CAUSED, values)])[0]
        return int(rows[0][0]) if rows else 0


def written(change: Change, causation: UUID | None = None) -> Work[int]:
    """Write over the version that was seen.

    Raises:
        BoardConflict: another one stands there.
        BoardRefused: the run has ended.
    """
    value, over = ABSENT if change.kind == "removal" else change.value, change.seen
    for _ in range(TRIES):
        if rows := (yield [change.written(value, over, causation, False)])[0]:
            return int(rows[0][0])
        yield from _ensure_open(change)
        current = yield from change.current()
        if change.seen or current is None or current.is_there or over == current.version:
            break
        # Whoever has seen nothing writes where nothing stands, also when something stood there once.
        over = current.version
    raise _why_not(change, current)


def merged(change: Change, lists: Mapping[str, str] | None, *, locks: bool) -> Work[tuple[int, bool]]:
    """Write the merge of the change with what stands there; the version, and whether it is the change and no more.

    Raises:
        BoardConflict: it cannot be merged.
        BoardRefused: the run has ended, or the merged value does not fit the key.
    """
    base = change.mine
    if base is ABSENT and change.seen:
        base = value_of((yield from change.versions(change.seen)).get(change.seen))

    def merge(current: Entry | None) -> object:
        result = merge_records(base, change.value, value_of(current), lists)
        if isinstance(result, Unmerged):
            raise BoardConflict(
                f"`{change.key}` was changed since version {change.seen}, and cannot be merged: {result.reason}.",
                version=0 if current is None else current.version,
                differences=result.differences,
            )
        return result.value

    version, value = yield from made(change, merge, locks=locks)
    return version, same(value, change.value)


def made(change: Change, make: Callable[[Entry | None], object], *, locks: bool) -> Work[tuple[int, object]]:
    """Write what `make` makes of what stands there; the version and the value.

    Args:
        locks: Queue up with others who do the same. Not in a transaction of the caller's, which would hold the lock.

    Raises:
        BoardRefused: the run has ended, or the value does not fit the key.
        RowLocked: another one holds the lock too long.
    """
    about = {"board": change.board, "key": change.key, "patience": f"{PATIENCE * 1000:.0f}ms"}
    for _ in range(TRIES):
        # The look is a statement after the lock, so it sees what the one before has written.
        current = yield from change.current(*([BEGIN, Query(statements.LOCK, about)] if locks else []))
        value = make(current)
        over = 0 if current is None else current.version
        if current is not None and current.is_there and same(value, current.value):
            if locks:
                yield [COMMIT]
            return over, value
        checked = replace(change, kind="put", value=value).checked().value
        rests = change.kind == "merge" and current is not None and current.rests_on_withdrawn
        write = replace(change, seen=change.seen if change.kind == "merge" else over).written(
            checked, over, None, rests
        )
        if rows := (yield [write, COMMIT] if locks else [write])[0]:
            return int(rows[0][0]), value
        yield from _ensure_open(change)
    raise BoardConflict(f"`{change.key}` is written all the time.", version=over)


def _why_not(change: Change, current: Entry | None) -> BoardConflict:
    if current is None:
        return BoardConflict(f"There is no version {change.seen} of `{change.key}`: nothing stands there.", version=0)
    by = "Part of it was withdrawn" if current.kind == "withdrawal" else f"{current.writer} has written"
    said = f"after version {change.seen}" if change.seen else "and nobody here has looked at it"
    return BoardConflict(
        f"{by} `{change.key}` (version {current.version}) {said}, so it was not overwritten.", version=current.version
    )


def _ensure_open(change: Change) -> Work[None]:
    if (yield [Query(statements.IS_CLOSED, {"run": change.run})])[0][0][0]:
        raise BoardRefused(
            f"The run {change.run} has ended, so nothing is written in its name any more.",
            remedy="Write in a run that goes on.",
        )
