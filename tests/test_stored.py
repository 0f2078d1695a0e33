"""An installation that an earlier version left is read, made anew and gone on with by this one."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from muster.database import Database
from muster.events.rebuild import rebuild
from muster.migrations import migrate
from stored.playing import Shop
from stored.write import DUMP, HASHES, OPEN, SEEN, TOOLS, gone_on_with, hashes, seen

STORED: dict[str, Any] = json.loads(SEEN.read_text())


@pytest.fixture
def shop(postgres: str, tmp_path: Path) -> Iterator[Shop]:
    """The installation on a server of today, with today's schema."""
    name = f"stored_{secrets.token_hex(6)}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    dsn = make_conninfo(postgres, dbname=name)
    restored = [str(TOOLS / "pg_restore"), f"--dbname={dsn}", "--no-owner", "--no-privileges", str(DUMP)]
    subprocess.run(restored, check=True, capture_output=True)
    migrate(dsn)
    database = Database(dsn)
    yield Shop(tmp_path, database)
    database.close()
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_its_log_is_as_it_was_written(shop: Shop) -> None:
    assert list(shop.site.services.log.verify_all()) == []


def test_its_runs_are_what_they_were(shop: Shop) -> None:
    def stored(seen: dict[str, Any]) -> dict[str, Any]:
        # In which order steps are shown is up to each release.
        return {run: {**said, "steps": sorted(said["steps"])} for run, said in seen.items()}

    assert stored(seen(shop)) == stored(STORED["seen"])


def test_its_tables_made_anew_are_what_they_were(shop: Shop) -> None:
    def rows() -> list[Any]:
        with shop.site.services.database.connection() as connection:
            return [
                connection.execute(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY to_jsonb(t)::text").fetchall()
                for table in ("runs", "steps")
            ]

    before = rows()
    assert not rebuild(shop.site.services.database).faults
    assert rows() == before


def test_its_open_runs_are_gone_on_with(shop: Shop) -> None:
    assert set(OPEN) == STORED["gone_on_with"].keys()
    assert gone_on_with(shop) == STORED["gone_on_with"]


def test_a_definition_is_known_by_the_hash_that_it_had() -> None:
    assert hashes() == json.loads(HASHES.read_text())
