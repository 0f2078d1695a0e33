"""What a work item has written stands once, and not after it was undone: the history says so."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from coordination.blackboard.conftest import RUN, Open
from muster.coordination.blackboard import Board, BoardConflict, BoardRefused, withdraw
from muster.coordination.blackboard.rows import Reader
from muster.database import Database
from muster.events.driver import run
from muster.events.log import EventLog
from muster.events.model import NewEvent
from muster.recovery.attempts import AttemptRevoked, Superseded, attempting
from muster.recovery.fencing import fenced

WORK = "team/run/count[1]"


def undo(database: Database, work: str = WORK) -> None:
    run(database, withdraw(RUN, work, Reader(None)))


def value(board: Board, key: str) -> object:
    entry = board.get(key)
    return entry.value if entry is not None and entry.is_there else None


def test_a_retried_attempt_writes_once(open_board: Open) -> None:
    reader = open_board("reader")
    first = open_board("clerk", work=WORK, execution=3, attempt=1)
    first.update("count", lambda before: (before or 0) + 1)
    reader.get("count")
    again = open_board("clerk", work=WORK, execution=3, attempt=2, is_later=True)
    again.update("count", lambda before: (before or 0) + 1)
    assert value(reader, "count") == 1
    history = reader.history("count")
    assert [(each.value, each.kind, each.withdrawn_because) for each in history] == [
        (1, "put", None), (None, "withdrawal", None), (1, "put", "tried again"),
    ]  # fmt: skip


def test_so_does_one_in_a_later_execution_and_it_leaves_the_work_of_others(open_board: Open) -> None:
    open_board("clerk", work=WORK, execution=3, attempt=2).merge("facts", {"mine": 1})
    open_board("other", work="team/run/count[2]", execution=4, attempt=1).merge("facts", {"yours": 2})
    again = open_board("clerk", work=WORK, execution=9, attempt=1, is_later=True)
    again.begin()
    assert value(again, "facts") == {"yours": 2}
    again.merge("facts", {"yours": 2, "mine": 3})
    assert value(open_board(), "facts") == {"yours": 2, "mine": 3}


def test_what_was_undone_is_not_silently_kept(open_board: Open, database: Database) -> None:
    reader = open_board("reader")
    open_board("clerk", work=WORK).put("facts", {"price": 3})
    open_board("clerk", work=f"{WORK}/tool/note/0a").put("note", "by a tool of it")
    open_board("clerk", work=f"{WORK}/undo").put("count", 7)
    undo(database)
    assert [value(reader, key) for key in ("facts", "note", "count")] == [None, None, 7]
    assert [(each.kind, each.withdrawn_because) for each in reader.history("facts")] == [
        ("withdrawal", None), ("put", "undone"),
    ]  # fmt: skip
    undo(database)
    assert len(reader.history("facts")) == 2


def test_what_stood_before_stands_again(open_board: Open, database: Database) -> None:
    other = open_board("other", work="team/run/plan")
    other.put("note", "old")
    clerk = open_board("clerk", work=WORK)
    clerk.get("note")
    clerk.put("note", "new")
    clerk.remove("note")
    undo(database)
    assert value(other, "note") == "old"


def test_one_who_has_seen_what_was_withdrawn_does_not_write_over_it_unseen(
    open_board: Open, database: Database
) -> None:
    editor = open_board("editor")
    open_board("clerk", work=WORK).put("note", "new")
    editor.get("note")
    undo(database)
    with pytest.raises(BoardConflict, match="Part of it was withdrawn"):
        editor.put("note", "made of new")


def test_what_cannot_be_told_apart_says_on_what_it_rests(open_board: Open, database: Database) -> None:
    open_board("clerk", work=WORK).put("note", "one sentence")
    editor = open_board("editor", work="team/run/edit")
    editor.get("note")
    editor.put("note", "one sentence, and another")
    undo(database)
    entry = editor.get("note")
    assert entry is not None
    assert (entry.value, entry.rests_on_withdrawn) == ("one sentence, and another", True)
    editor.put("note", "something else")
    assert not editor.get("note").rests_on_withdrawn  # type: ignore[union-attr]


def test_two_tasks_undone_one_after_the_other_leave_nothing(open_board: Open, database: Database) -> None:
    for number in (1, 2):
        open_board("clerk", work=f"team/run/count[{number}]").merge("facts", {f"n{number}": number})
    undo(database, "team/run/count[1]")
    assert value(open_board(), "facts") == {"n2": 2}
    undo(database, "team/run/count[2]")
    assert [value(open_board(), "facts"), len(open_board().history("facts"))] == [None, 4]


async def test_an_attempt_that_was_overtaken_cannot_write(open_board: Open, database: Database) -> None:
    late = [NewEvent(type="noted", data={})]
    async with AsyncExitStack() as stack:
        # What the attempt ends with, because it was refused.
        stack.push(lambda kind, error, trace: kind is not None and issubclass(kind, Superseded))
        await stack.enter_async_context(attempting(database, run=RUN, work=WORK, execution=1, number=1, seizes=False))
        overtaken = open_board("clerk", work=WORK, execution=1, attempt=1, database=fenced(database))
        await overtaken.aput("note", "first")
        async with attempting(database, run=RUN, work=WORK, execution=2, number=1, seizes=True):
            await open_board(database=fenced(database)).aput("count", 1)
        with pytest.raises(AttemptRevoked):
            await overtaken.aput("note", "late")
        with pytest.raises(AttemptRevoked):
            await overtaken.amerge("facts", {"late": 1})
        with pytest.raises(AttemptRevoked):
            overtaken.remove("note")
        with pytest.raises(AttemptRevoked):
            overtaken.put_with(EventLog(database), late, "note", "late")
    assert value(open_board(), "note") == "first"
    assert value(open_board(), "facts") is None
    assert list(EventLog(database).read(RUN)) == []


def test_an_entry_and_the_event_that_causes_it_are_both_written_or_neither(
    open_board: Open, database: Database
) -> None:
    log, board = EventLog(database), open_board()
    noted = NewEvent(type="noted", key="once", data={})
    [event] = board.put_with(log, [noted], "note", "x")
    assert board.get("note").causation == event.id  # type: ignore[union-attr]
    assert board.put_with(log, [noted], "note", "y") == [event]
    assert [each.value for each in board.history("note")] == ["x"]
    other = open_board("other")
    with pytest.raises(BoardConflict):
        other.put_with(log, [NewEvent(type="noted", key="twice", data={})], "note", "z")
    assert len(list(log.read(RUN))) == 1


async def test_so_it_is_by_a_coroutine_and_again_once_it_was_withdrawn(open_board: Open, database: Database) -> None:
    log, noted = EventLog(database), NewEvent(type="noted", key="once", data={})
    await open_board("clerk", work=WORK, execution=1, attempt=1).aput_with(log, [noted], "note", "x")
    again = open_board("clerk", work=WORK, execution=1, attempt=2, is_later=True)
    await again.aput_with(log, [noted], "note", "x")
    assert value(again, "note") == "x"


def test_nothing_is_written_once_the_run_has_ended(open_board: Open, database: Database) -> None:
    board = open_board("clerk", work=WORK)
    board.put("note", "x")
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO runs (id, status, closed_at, calls, cost_usd) VALUES (%s, 'failed', clock_timestamp(), 0, 0)",
            (RUN,),
        )
    for write in (board.put, board.merge):
        with pytest.raises(BoardRefused, match="has ended"):
            write("note", "y")
    undo(database)
    assert value(board, "note") is None
