"""Whoever waits is woken, all of a process by one connection, and also when no bell was heard."""

from __future__ import annotations

import asyncio
import threading
import time

import psycopg
import pytest

from coordination.messages.conftest import RUN
from muster.coordination.messages import NoReply, Post, waking
from muster.database import Database

LISTENING = (
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND (query LIKE 'LISTEN%' OR query LIKE '%WITH ORDINALITY AS w%')"
)


def listeners(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(f"SELECT count(*) {LISTENING}").fetchone()
    assert row is not None
    return int(row[0])


async def test_many_that_wait_hold_one_connection_and_each_gets_its_message(database: Database, dsn: str) -> None:
    post = Post(database)
    boxes = [post.mailbox(RUN, f"agent {number}") for number in range(200)]
    waits = [asyncio.create_task(box.areceive(wait=60)) for box in boxes]
    await asyncio.sleep(1)
    assert listeners(dsn) == 1
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()").fetchone()
    assert row is not None
    assert row[0] <= 8
    lead = post.mailbox(RUN, "lead")
    for box in boxes:
        await lead.asend(box.owner, box.owner)
    found = await asyncio.gather(*waits)
    assert [[each.body for each in got] for got in found] == [[box.owner] for box in boxes]
    post.close()


def test_a_thread_that_waits_is_woken_by_another_process(post: Post, database: Database, dsn: str) -> None:
    from support.processes import finish, start

    other = start(
        "import sys; from muster.coordination.messages import Post; from muster.database import Database\n"
        f"post = Post(Database(sys.argv[1])); sys.stdin.readline(); post.mailbox({RUN!r}, 'lead').send('coder', 7)\n"
        "post.close()",
        dsn,
    )
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(post.mailbox(RUN, "coder").receive(wait=60)))
    thread.start()
    finish(other)
    thread.join()
    assert len(got) == 1


def test_what_nobody_rang_for_is_found_all_the_same(post: Post, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "POLL", 0.2)
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(post.mailbox(RUN, "coder").receive(wait=60)))
    thread.start()
    with psycopg.connect(dsn) as connection:
        post.mailbox(RUN, "lead").send("coder", 1, within=connection)
    thread.join(30)
    assert len(got) == 1


def test_nor_is_a_message_missed_while_the_connection_was_lost(post: Post, dsn: str) -> None:
    coder = post.mailbox(RUN, "coder")
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.extend(coder.receive(wait=60)))
    thread.start()
    for _ in range(100):
        if listeners(dsn):
            break
        time.sleep(0.05)
    with psycopg.connect(dsn) as connection:
        connection.execute(f"SELECT pg_terminate_backend(pid) {LISTENING}")
    post.mailbox(RUN, "lead").send("coder", 1)
    thread.join(30)
    assert len(got) == 1


async def test_whoever_waits_at_the_same_mailbox_is_woken_as_messages_come(database: Database) -> None:
    post = Post(database)
    waits = [asyncio.create_task(post.mailbox(RUN, "coder").areceive(wait=60)) for _ in range(5)]
    gives_up = asyncio.create_task(post.mailbox(RUN, "coder").areceive(wait=60))
    await asyncio.sleep(0.5)
    gives_up.cancel()
    lead = post.mailbox(RUN, "lead")
    for number in range(5):
        await lead.asend("coder", number)
    found = await asyncio.wait_for(asyncio.gather(*waits), 30)
    assert sorted(each.body for [each] in found) == [0, 1, 2, 3, 4]
    post.close()


async def test_the_next_of_a_conversation_is_rung_for_when_the_one_before_it_is_settled(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking, "POLL", 600.0)
    post = Post(database)
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    for number in range(3):
        await lead.asend("coder", number, correlation="c")
    [first] = await coder.areceive()
    other = asyncio.create_task(coder.areceive(wait=60))
    await asyncio.sleep(0.5)
    assert not other.done()
    await coder.aacknowledge(first)
    [second] = await asyncio.wait_for(other, 30)
    assert second.body == 1
    other = asyncio.create_task(coder.areceive(wait=60))
    await asyncio.sleep(0.2)
    await coder.areject(second, "no", final=True)
    assert [each.body for each in await asyncio.wait_for(other, 30)] == [2]
    post.close()


async def test_the_coroutines_do_what_the_others_do(database: Database) -> None:
    post = Post(database)
    lead, coder = post.mailbox(RUN, "lead"), post.mailbox(RUN, "coder")
    await coder.asubscribe("news")
    await lead.abroadcast("news", 1)
    [delivery] = await coder.areceive()
    await coder.adefer(delivery, 0)
    [delivery] = await coder.areceive()

    async def answer() -> None:
        [asked] = await coder.areceive(wait=30)
        await coder.areply(asked, asked.body + 1)

    async with post.atransaction() as connection:
        await coder.aacknowledge(delivery, within=connection)
        await coder.asend("lead", 2, within=connection)
    await coder.aunsubscribe("news")
    await lead.abroadcast("news", 1)
    task = asyncio.create_task(answer())
    reply = await lead.arequest("coder", 41, within_seconds=30)
    await task
    assert reply.body == 42
    with pytest.raises(NoReply, match="did not reply"):
        await lead.arequest("nobody", 1, within_seconds=0.1)
    post.close()
