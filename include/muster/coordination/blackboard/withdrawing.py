"""Withdrawing what a work item has written: the history keeps it, and nothing that stands is made of it unsaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from muster.coordination.blackboard import statements
from muster.coordination.blackboard.model import Entry
from muster.coordination.blackboard.rows import Reader, value_of
from muster.coordination.blackboard.watching import Watched
from muster.coordination.merging import ABSENT, Merged, merge_records, same
from muster.events.canonical import canonical
from muster.events.driver import HotQuery, Query, Work, one_transaction

UNDONE = "undone"
"""Why: the work was undone."""
RETRIED = "tried again"
"""Why: a later attempt at the work writes anew."""


class _Of(NamedTuple):
    """Whose writes are withdrawn, and why."""

    run: str
    work: str
    because: str
    execution: int | None
    attempt: int | None
    below: bool


def withdraw(run: str, work: str, reader: Reader) -> Work[set[Watched]]:
    """Withdraw all that a work item has written, and its tools; the keys of which something new stands.

    A field that only it has changed is what it was before. What cannot be told apart from a later change stays, and
    says that it rests on something that was withdrawn.
    """
    return (yield from _withdraw(_Of(run, work, UNDONE, None, None, True), reader))


def withdraw_earlier(
    run: str, work: str, execution: int, attempt: int, reader: Reader, *, below: bool = False
) -> Work[set[Watched]]:
    """Withdraw what attempts at a work item before this one have written; with `below`, also what their tools have."""
    return (yield from _withdraw(_Of(run, work, RETRIED, execution, attempt, below), reader))


def _withdraw(of: _Of, reader: Reader) -> Work[set[Watched]]:
    values = {"run": of.run, "work": of.work, "execution": of.execution, "attempt": of.attempt, "below": of.below}
    # Most works have written nothing, and need no transaction.
    if not (yield [Query(statements.STANDING, values)])[0]:
        return set()
    return (yield from one_transaction(_reverted(values, of, reader)))


def _reverted(values: dict[str, Any], of: _Of, reader: Reader) -> Work[set[Watched]]:
    changed = set[Watched]()
    rows = (yield [Query(f"{statements.STANDING} FOR UPDATE", values)])[0]
    for (board, key), written in groupby(rows, key=itemgetter(14, 0)):
        versions = [row[1] for row in written]
        about = {"board": board, "key": key}
        yield [Query(statements.WITHDRAWN, {**about, "versions": versions, "because": of.because})]
        around = sorted({*versions, *(version - 1 for version in versions)})
        known = (yield [Query(statements.ONE, {**about, "versions": around})])[0]
        entries = {row[1]: reader.entry(row) for row in known}
        while True:
            [row] = (yield [Query(statements.CURRENT, {"boards": [board], "keys": [key]})])[0]
            current = reader.entry(row)
            # When nothing is left that anybody has written, nothing stands there.
            is_left = (yield [Query(statements.LEFT, about)])[0][0][0]
            value, rests = _without(current, entries, versions) if is_left else (ABSENT, False)
            if same(value, value_of(current)) and rests == current.rests_on_withdrawn:
                break
            written_now = {
                **about,
                "current": current.version,
                "value": None if value is ABSENT else canonical(reader.seal(value)),
                "kind": "withdrawal",
                "run": of.run,
                "writer": "muster",
                "work": of.work,
                "execution": of.execution or 0,
                "attempt": of.attempt or 0,
                "base": current.version,
                "causation": None,
                "rests": rests,
            }
            # Somebody may have written meanwhile: what stands then is looked at again.
            if (yield [HotQuery(statements.REWRITE, written_now)])[0]:
                changed.add(Watched(board, key, 0))
                break
    return changed


def _without(current: Entry, entries: dict[int, Entry], versions: Sequence[int]) -> tuple[object, bool]:
    """What stands without these versions, and whether something of them may still be in it."""
    value, rests = value_of(current), current.rests_on_withdrawn
    if not current.is_readable:
        # Nobody can look into it; forgotten, there is nothing of anybody in it.
        return value, rests
    for version in sorted(versions, reverse=True):
        before, written = value_of(entries.get(version - 1)), value_of(entries.get(version))
        # A mapping that it has begun is emptied of what it wrote, and is not there once nothing is left.
        begun = before is ABSENT and isinstance(written, Mapping) and isinstance(value, Mapping)
        merged = merge_records(written, value, {} if begun else before)
        if isinstance(merged, Merged):
            value = ABSENT if begun and not merged.value else merged.value
        else:
            rests = True
    return value, rests and value is not ABSENT
