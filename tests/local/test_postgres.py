"""The embedded server keeps its data through stops and kills, and never outlives us."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from muster.errors import MusterError
from muster.local import postgres
from muster.local.postgres import PostgresServer, data_directory, free_port
from muster.local.supervisor import Supervisor
from muster.rehearsal.stage import own_server
from support.waiting import eventually


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A started server that nobody else uses."""
    # Not pytest's own folder: its parents are closed to the account that root's server runs as.
    with tempfile.TemporaryDirectory(prefix="muster-test-pg-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "data", port=free_port(), password=secrets.token_hex(8))
        server.start()
        yield server
        server.stop()


def test_who_is_killed_at_the_first_start_leaves_nothing_that_looks_like_a_database() -> None:
    with tempfile.TemporaryDirectory(prefix="muster-test-pg-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder) / "data", port=free_port(), password="x")
        process = multiprocessing.get_context("fork").Process(target=server.start)
        process.start()
        # It is written first, long before the rest.
        assert eventually(lambda: any(Path(folder).rglob("PG_VERSION")))
        assert process.pid is not None
        initdb = psutil.Process(process.pid).children(recursive=True)
        for each in (psutil.Process(process.pid), *initdb):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.join()
        server.start()
        try:
            write(server)
            assert read(server) == 42
            assert [path.name for path in Path(folder).iterdir() if path.is_dir()] == ["data"]
        finally:
            server.stop()


def write(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def read(server: PostgresServer) -> int:
    with psycopg.connect(server.dsn()) as connection:
        return connection.execute("SELECT answer FROM kept").fetchone()[0]


def postmaster(server: PostgresServer) -> psutil.Process:
    return psutil.Process(int((server.data / "postmaster.pid").read_text().splitlines()[0]))


def test_committed_rows_survive_a_killed_server(server: PostgresServer) -> None:
    write(server)
    family = [postmaster(server), *postmaster(server).children(recursive=True)]
    os.kill(family[0].pid, signal.SIGKILL)
    server.start()
    assert read(server) == 42
    assert not [process for process in family if process.is_running()]


def test_a_supervisor_brings_a_killed_server_back_by_itself(server: PostgresServer) -> None:
    write(server)
    supervisor = Supervisor([], first_pause=0.2)
    supervisor.add(server.process)
    supervisor.watch()
    try:
        os.kill(postmaster(server).pid, signal.SIGKILL)

        def back() -> bool:
            try:
                return read(server) == 42
            except psycopg.Error:
                return False

        assert eventually(lambda: supervisor.components["postgres"].restarts == 1)
        assert eventually(back)
    finally:
        supervisor.stop()


def test_stop_and_start_keep_the_data_and_leave_no_process(server: PostgresServer) -> None:
    write(server)
    family = [postmaster(server), *postmaster(server).children(recursive=True)]
    server.stop()
    assert not [process for process in family if process.is_running()]
    server.start()
    assert read(server) == 42


def test_it_asks_for_the_password_on_loopback_only_and_never_runs_as_root(server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.dsn().replace(server._password, "wrong"))
    assert postmaster(server).uids().effective != 0
    addresses = {each.laddr.ip for each in postmaster(server).net_connections("inet") if each.status == "LISTEN"}
    assert addresses == {"127.0.0.1"}


def test_a_server_that_cannot_start_says_why(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "START_PATIENCE", 3.0)
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("SELECT 1")
    server.stop()
    (server.data / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(MusterError, match="no_such_setting") as caught:
        server.start()
    assert "DATABASE_URL" in str(caught.value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root hands the server to another account")
def test_binaries_that_the_unprivileged_account_cannot_reach_are_copied_to_where_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="muster-test-pg-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr("muster.local.postgres.ROOTS_DATA", Path(folder) / "root")
        monkeypatch.setattr("muster.local.postgres._unprivileged_can_run", lambda program: False)
        before = os.umask(0o077)
        try:
            server = PostgresServer(data_directory(Path("/nowhere"), "me"), port=free_port(), password="x")
            server.start()
        finally:
            os.umask(before)
        try:
            assert Path(postmaster(server).exe()).is_relative_to(folder)
            write(server)
            assert read(server) == 42
        finally:
            server.stop()


def test_only_a_server_that_nobody_wants_again_does_not_wait_for_the_disk(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn()) as lasting:
        assert lasting.execute("SHOW fsync").fetchone() == ("on",)
    with own_server() as (dsn, _), psycopg.connect(dsn) as passing:
        assert passing.execute("SHOW fsync").fetchone() == ("off",)
        # Nor does anybody else on the machine need to reach it.
        assert passing.execute("SHOW listen_addresses").fetchone() == ("",)
