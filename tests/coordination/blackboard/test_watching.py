"""Who watches is told of what others write, by the stream that wakes all who wait."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from typing import Any

import psycopg
import pytest

from coordination.blackboard.conftest import RUN, Open
from muster.coordination.messages import Post
from muster.coordination.messages.waking import POLL
from muster.database import Database
from support.board_processes import put_without_a_bell

LONG = 60.0


def test_what_is_there_and_was_not_seen_is_told_at_once(open_board: Open) -> None:
    open_board("clerk").put("note", 1)
    editor = open_board("editor")
    assert [entry.value for entry in editor.watch("note", "facts", wait=LONG)] == [1]
    assert editor.watch("note", "facts", wait=0.01) == []


async def test_all_who_watch_are_woken_and_by_one_connection(open_board: Open, dsn: str) -> None:
    watching = [asyncio.create_task(open_board(f"w{n}").awatch("note", "facts", wait=LONG)) for n in range(30)]
    await asyncio.sleep(0.5)
    with psycopg.connect(dsn) as connection:
        [(listening,)] = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND (query LIKE 'LISTEN%' OR query LIKE '%WITH ORDINALITY AS watched%') AND pid <> pg_backend_pid()"
        ).fetchall()
    assert listening == 1
    await open_board("clerk").aput("facts", {"a": 1})
    assert {entry.value["a"] for entries in await asyncio.gather(*watching) for entry in entries} == {1}


def test_a_thread_watches_too_and_messages_are_not_disturbed(open_board: Open, database: Database) -> None:
    post, found = Post(database), list[Any]()
    watching = threading.Thread(target=lambda: found.extend(open_board("editor").watch("note", wait=LONG)))
    receiving = threading.Thread(target=lambda: found.extend(post.mailbox(RUN, "editor").receive(wait=LONG)))
    for thread in (watching, receiving):
        thread.start()
    post.mailbox(RUN, "clerk").send("editor", "hello")
    receiving.join(LONG)
    assert watching.is_alive()
    open_board("clerk").put("note", 1)
    watching.join(LONG)
    assert len(found) == 2
    post.close()


@pytest.mark.parametrize("wait", [LONG])
def test_a_bell_that_nobody_rang_costs_some_seconds(open_board: Open, dsn: str, wait: float) -> None:
    begun = time.monotonic()
    process = multiprocessing.get_context("spawn").Process(target=put_without_a_bell, args=(dsn,))
    process.start()
    assert [entry.writer for entry in open_board("editor").watch("note", wait=wait)] == ["killed"]
    process.join()
    assert time.monotonic() - begun < wait
    assert wait > POLL
