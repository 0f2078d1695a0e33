"""Promises of sealing: only the subject's key opens it, only in its run, and keys survive only wrapped."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events.driver import run
from muster.events.personal import Vault, load_master
from muster.events.sealing import FORGOTTEN, SEALED, open_all, seal, sealed_ids
from muster.redaction import redact_data

KEY = bytes(range(32))
MASTER = bytes(range(1, 33))


@pytest.mark.parametrize("value", ["", "jane@example.com", 12, 1.5, True, [1, "a"], {"a": {"b": "ü\ud800"}}])
def test_what_is_sealed_opens_to_what_it_was(value: Any) -> None:
    sealed = seal(value, id="s", key=KEY, stream="a/1")
    assert sealed_ids({"x": [sealed]}) == {"s"}
    assert open_all({"x": [sealed, 1]}, {"s": KEY}, "a/1") == {"x": [value, 1]}


def test_what_is_sealed_is_never_taken_for_a_secret() -> None:
    """What a sealed value ends in is chance: some 1 of 2,000 ended in what looks like a password, and was destroyed."""
    for number in range(10_000):
        sealed = seal(str(number), id="s", key=KEY, stream="a/1")
        assert redact_data(sealed) == sealed


def test_what_an_earlier_version_sealed_opens() -> None:
    value = "Jane Roe"
    for length in range(4):
        sealed = seal(value + "e" * length, id="s", key=KEY, stream="a/1")
        padded = {**sealed, "sealed": sealed["sealed"] + "=" * (-len(sealed["sealed"]) % 4)}
        assert open_all(padded, {"s": KEY}, "a/1") == value + "e" * length


def test_two_seals_of_one_value_have_nothing_in_common() -> None:
    one, two = (seal("jane", id="s", key=KEY, stream="a/1")["sealed"] for _ in range(2))
    assert one[:12] != two[:12]
    assert b"jane" not in base64.b64decode(one + "==")


def test_without_its_key_it_is_forgotten_and_with_a_wrong_one_or_elsewhere_it_stays_shut() -> None:
    sealed = seal("jane", id="s", key=KEY, stream="a/1")
    assert open_all(sealed, {"s": None}, "a/1") == {FORGOTTEN: "s"}
    assert open_all(sealed, {"s": MASTER}, "a/1") == sealed
    assert open_all(sealed, {"s": KEY}, "a/2") == sealed
    assert open_all(sealed, {}, "a/1") == sealed
    assert seal("jane", id="s", key=None, stream="a/1") == {FORGOTTEN: "s"}


def test_what_only_looks_sealed_stays_what_it_is() -> None:
    for fake in (
        {SEALED: "s", "sealed": "AAAA"},
        {SEALED: "s", "sealed": 5},
        {SEALED: "s"},
        {SEALED: [], "sealed": ""},
    ):
        assert open_all(fake, {"s": KEY}, "a/1") == fake


def test_a_subject_has_one_key_that_is_stored_wrapped_under_no_name(database: Database) -> None:
    vault = Vault(lambda: MASTER)
    id = run(database, vault.enrol("jane@example.com"))
    assert run(database, vault.enrol("jane@example.com")) == id
    assert run(database, vault.enrol("john@example.com")) != id
    key = run(database, vault.keys([id]))[id]
    assert key is not None
    assert len(key) == 32
    with database.connection() as connection:
        rows = connection.execute("SELECT id, wrapped_key FROM subjects").fetchall()
    assert not any("jane" in row[0] or key in bytes(row[1]) for row in rows)
    with pytest.raises(MusterError, match="another master key"):
        run(database, Vault(lambda: KEY).keys([id]))


def test_the_master_key_is_made_once_by_many_processes_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    source = (
        "import sys; from pathlib import Path; from muster.events.personal import load_master;"
        " print(load_master(Path(sys.argv[1])).hex())"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MUSTER_MASTER_KEY"}
    command = [sys.executable, "-P", "-c", source, str(tmp_path / "state")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(4)]
    keys = {process.communicate(timeout=60)[0].strip() for process in started}
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["master.key"]
    assert (tmp_path / "state" / "master.key").stat().st_mode & 0o077 == 0


def test_a_master_key_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for text in ("short", "!" * 44, base64.b64encode(b"x" * 31).decode()):
        monkeypatch.setenv("MUSTER_MASTER_KEY", text)
        with pytest.raises(MusterError, match="not 32 bytes"):
            load_master(tmp_path)
    monkeypatch.setenv("MUSTER_MASTER_KEY", base64.b64encode(MASTER).decode())
    assert load_master(None) == MASTER
    monkeypatch.delenv("MUSTER_MASTER_KEY")
    with pytest.raises(MusterError, match="no master key"):
        load_master(None)
