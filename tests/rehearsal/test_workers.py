"""Several processes play side by side, and nobody can tell from what is said how many there were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from muster.rehearsal.copies import Copy, LentDatabase
from muster.rehearsal.rehearsing import rehearsed
from muster.rehearsal.restoring import NotRestorable, Restoration
from muster.rehearsal.script import read_script
from support.sources import source_of
from support.waiting import eventually

AUTOMATION = """automation: booking
inputs: {how: {type: string, default: well}}
steps:
  - id: book
    skill: desk.book
    with: {how: "{{ inputs.how }}"}
    compensate: {skill: desk.cross_out}
  - {id: look, skill: desk.look}
"""
SCRIPT = """automation: booking
prepare: [{skill: desk.open}]
state:
  - SELECT count(*), sum(number) > 0 FROM desk.bookings
cases:
  - {name: well, inputs: {how: well}}
  - {name: the schema is gone, inputs: {how: drops}}
  - {name: after it, inputs: {how: well}}
  - {name: the process dies, inputs: {how: dies}}
  - {name: a transaction stays open, inputs: {how: hangs}}
  - {name: rows of others are gone, inputs: {how: clears}}
  - {name: it fails, inputs: {how: well}, expect: {status: failed}}
"""


@pytest.fixture
def include(tmp_path: Path) -> Path:
    """A site with one automation, whose skills do to the database and the process what they are told."""
    include = tmp_path / "include"
    for name in ("automations", "skills"):
        (include / name).mkdir(parents=True)
    (include / "skills" / "desk.py").write_text(source_of(__file__, "desk"))
    (include / "automations" / "booking.yaml").write_text(AUTOMATION)
    (include / "automations" / "booking.test.yaml").write_text(SCRIPT)
    return include


def databases(server: str) -> set[str]:
    with psycopg.connect(server, autocommit=True) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


def test_order_and_verdicts_are_the_same_with_one_worker_and_with_several(
    include: Path, tmp_path: Path, postgres: str
) -> None:
    before = databases(postgres)
    script = read_script(include / "automations" / "booking.test.yaml")
    heard: list[tuple[str, list[str]]] = []
    alone = rehearsed(include, script, postgres, tmp_path / "files", workers=1)
    several = rehearsed(
        include, script, postgres, tmp_path / "files", workers=3, heard=lambda *said: heard.append(said)
    )
    assert alone == several == heard
    assert {name: said for name, said in alone if said} == {
        "the process dies": ["it broke off: its process ended with 7"],
        "it fails": ["it ended succeeded (None), not failed"],
    }
    assert any(name.endswith("of an undone run") for name, _ in alone)
    assert databases(postgres) == before


@pytest.fixture
def copy(dsn: str) -> Copy:
    """A database with a table of three rows, as it was prepared."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE TABLE guests"
            " (id serial PRIMARY KEY, name text, twice text GENERATED ALWAYS AS (name || name) STORED)"
        )
        connection.execute("CREATE TABLE rooms (guest int REFERENCES guests)")
        connection.execute("INSERT INTO guests (name) VALUES ('c'), ('a'), ('b')")
    return Copy("guests", dsn)


GUESTS = [(1, "c", "cc"), (2, "a", "aa"), (3, "b", "bb")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE guests SET name = 'z' WHERE id = 1",
        "DELETE FROM guests",
        "INSERT INTO guests (name) VALUES ('d'); INSERT INTO rooms VALUES (4)",
        "SELECT nextval('guests_id_seq')",
        "INSERT INTO checkpoints SELECT * FROM checkpoints",
        "SELECT 1",
    ],
)
async def test_rows_and_sequences_come_back_as_they_were(copy: Copy, dsn: str, statement: str) -> None:
    lent = LentDatabase(copy.database)
    with lent.connection() as connection:
        connection.execute(statement)
    lent.end()
    assert copy.put_back()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT * FROM guests").fetchall() == GUESTS
        assert connection.execute("SELECT * FROM rooms").fetchall() == []
        assert connection.execute("INSERT INTO guests (name) VALUES ('d') RETURNING id").fetchone() == (4,)
    await copy.aclose()


async def test_rows_that_cannot_be_deleted_come_back_as_they_were_all_the_same(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE guests (id serial PRIMARY KEY, name text)")
        connection.execute("CREATE TABLE rooms (guest int REFERENCES guests)")
        connection.execute("INSERT INTO guests (name) VALUES ('c'), ('a')")
        connection.execute("CREATE RULE stays AS ON DELETE TO guests DO INSTEAD NOTHING")
        connection.execute("ALTER TABLE guests ENABLE ALWAYS RULE stays")
    copy = Copy("guests", dsn)
    lent = LentDatabase(copy.database)
    with lent.connection() as connection:
        connection.execute("UPDATE guests SET name = 'z'; INSERT INTO rooms VALUES (1)")
    lent.end()
    assert copy.put_back()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT * FROM guests").fetchall() == [(1, "c"), (2, "a")]
        assert connection.execute("SELECT * FROM rooms").fetchall() == []
    await copy.aclose()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE rooms",
        "ALTER TABLE guests ALTER name SET DEFAULT 'x'",
        "ALTER TABLE guests ALTER name SET NOT NULL",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "CREATE VIEW one AS SELECT 1",
        "TRUNCATE guests, rooms",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "COMMENT ON TABLE guests IS 'here'; GRANT SELECT ON guests TO PUBLIC",
        "CREATE SCHEMA more",
    ],
)
async def test_a_database_whose_schema_is_another_is_not_used_again(copy: Copy, statement: str) -> None:
    with copy.database.connection() as connection:
        connection.execute(statement)
    assert not copy.put_back()
    await copy.aclose()


async def test_a_database_that_somebody_is_at_work_in_is_not_used_again(copy: Copy, dsn: str) -> None:
    with psycopg.connect(dsn) as other:
        other.execute("INSERT INTO guests (name) VALUES ('d')")
        assert not copy.put_back()
    await copy.aclose()


async def test_what_a_run_left_at_work_gets_no_connection_once_it_is_over(copy: Copy) -> None:
    lent = LentDatabase(copy.database)
    lent.end()
    for database in (lent, lent.lasting):
        with pytest.raises(Exception, match="run was over"), database.connection():
            pass
        with pytest.raises(Exception, match="run was over"):
            async with database.aconnection():
                pass
    await copy.aclose()


def test_where_the_role_may_not_put_rows_back_it_is_known_at_once(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE muster_may_not")
        try:
            connection.execute("SET ROLE muster_may_not")
            with pytest.raises(NotRestorable):
                Restoration(connection)
        finally:
            connection.execute("RESET ROLE; DROP ROLE muster_may_not")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_rehearsal_that_is_ended_leaves_no_process_behind_and_no_files(
    include: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUSTER_REHEARSAL_SERVER", raising=False)
    command = [sys.executable, "-P", "-m", "muster.cli", "test", "booking", "--workers", "2"]
    environment = os.environ | {"MUSTER_PROJECT": str(include.parent)}
    # In a group of its own: Ctrl-C goes to the whole group.
    rehearsal = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)
    family: list[psutil.Process] = []
    try:
        assert rehearsal.stdout is not None
        assert rehearsal.stdout.read(1) == b"."

        def all_are_at_work() -> bool:
            # The first scenario may have been played before the second process was begun.
            family[:] = psutil.Process(rehearsal.pid).children(recursive=True)
            try:
                return sum(process.name().startswith("python") for process in family) >= 3
            except psutil.NoSuchProcess:  # One of PostgreSQL's ended between the list and its name.
                return False

        assert eventually(all_are_at_work)
        folders = {
            Path(file.path).parents[0]
            for file in psutil.Process(rehearsal.pid).open_files()
            if file.path.endswith("/lock")
        }
        assert len(folders) == 1
        if how == signal.SIGINT:
            os.killpg(rehearsal.pid, how)
        else:
            rehearsal.send_signal(how)
        rehearsal.wait(60)
        assert eventually(lambda: not any(process.is_running() for process in family))
    finally:
        rehearsal.kill()
        for process in family:
            if process.is_running():
                process.kill()
    if how == signal.SIGKILL:
        # Nobody was there to do it. The next rehearsal is.
        subprocess.run([*command, "--quick"], env=environment, stdout=subprocess.DEVNULL, check=False)
    assert not any(folder.exists() for folder in folders)
