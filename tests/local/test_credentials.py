"""Secrets are random, made once, and readable by their owner only."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from muster.errors import MusterError
from muster.local.credentials import (
    Credentials,
    add_login,
    added_logins,
    alone,
    load_credentials,
    remove_login,
    renew_logins,
    write_secret,
)


def test_the_file_is_readable_by_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_credentials(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600


def test_secrets_are_made_once(tmp_path: Path) -> None:
    assert load_credentials(tmp_path) == load_credentials(tmp_path)


def test_two_projects_share_no_secret(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = load_credentials(tmp_path / "a"), load_credentials(tmp_path / "b")

    def secrets(it: Credentials) -> set[str]:
        return {it.identity, it.fernet_key, it.jwt_secret, it.api_secret, *it.database_passwords.values()} | {
            login.password for login in it.logins.values()
        }

    assert len(secrets(one)) == 9
    assert not secrets(one) & secrets(other)


def test_keys_have_the_length_that_airflow_asks_for(tmp_path: Path) -> None:
    it = load_credentials(tmp_path)
    assert len(base64.urlsafe_b64decode(it.fernet_key)) == 32
    assert len(base64.b64decode(it.jwt_secret)) == 64


def test_there_is_an_admin_and_somebody_who_is_asked_for_approval(tmp_path: Path) -> None:
    roles = {name: login.role for name, login in load_credentials(tmp_path).logins.items()}
    assert roles == {"admin": "admin", "finance-lead": "user"}


def test_more_logins_come_from_the_environment_and_keep_their_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_credentials(tmp_path)
    monkeypatch.setenv("MUSTER_USERS", "cfo:user, auditor:viewer")
    more = renew_logins(tmp_path)
    assert {"cfo", "auditor"} <= set(more.logins)
    assert more.logins["auditor"].role == "viewer"
    assert more.admin == first.admin
    assert more.jwt_secret == first.jwt_secret, "nobody has to sign in again for a login that is new"
    assert renew_logins(tmp_path) == more


def test_a_role_or_a_login_is_taken_back_at_the_next_start_and_nobody_stays_signed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_USERS", "cfo:admin,temp:op")
    first = renew_logins(tmp_path)
    monkeypatch.setenv("MUSTER_USERS", "cfo:viewer")
    then = renew_logins(tmp_path)
    assert {name: login.role for name, login in then.logins.items()} == {
        "admin": "admin",
        "finance-lead": "user",
        "cfo": "viewer",
    }
    assert then.logins["cfo"].password == first.logins["cfo"].password
    assert then.jwt_secret != first.jwt_secret, "a token says which role its holder has"
    monkeypatch.setenv("MUSTER_USERS", "cfo:viewer,temp:op")
    assert renew_logins(tmp_path).logins["temp"].password != first.logins["temp"].password


def test_a_command_in_another_shell_takes_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_USERS", "cfo:user")
    started = renew_logins(tmp_path)
    monkeypatch.delenv("MUSTER_USERS")
    assert load_credentials(tmp_path) == started


def test_who_was_added_stays_until_removed_whatever_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = renew_logins(tmp_path)
    added = add_login(tmp_path, "cfo", "user").logins["cfo"]
    assert (added.role, added.added, len(added.password) > 10) == ("user", True, True)
    monkeypatch.setenv("MUSTER_USERS", "auditor:viewer")
    then = renew_logins(tmp_path)
    assert (then.logins["cfo"], set(added_logins(tmp_path))) == (added, {"cfo"})
    assert then.jwt_secret == first.jwt_secret
    for name, remedy in {"cfo": "`muster users remove cfo`", "admin": "MUSTER_USERS=admin:op"}.items():
        with pytest.raises(MusterError, match=f"{name} has a login already") as refused:
            add_login(tmp_path, name, "op")
        assert remedy in str(refused.value.remedy), "only who was added can be removed"
    for name in ("", "a b", "a,b", "a:admin"):
        with pytest.raises(MusterError, match="is no user name"):
            add_login(tmp_path, name, "op")
    left = remove_login(tmp_path, "cfo")
    assert "cfo" not in left.logins
    assert left.jwt_secret != first.jwt_secret, "after the next start nobody is signed in from before"
    with pytest.raises(MusterError, match="auditor was not added"):
        remove_login(tmp_path, "auditor")


def test_of_those_who_change_it_at_once_each_has_its_way(tmp_path: Path) -> None:
    load_credentials(tmp_path)
    names = [f"user{number}" for number in range(8)]

    def add(name: str) -> None:
        with alone(tmp_path):
            add_login(tmp_path, name, "user")

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add, args=(name,)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert set(added_logins(tmp_path)) == set(names)


@pytest.mark.parametrize("first", ["a start", "an addition"])
def test_who_only_looks_at_first_use_replaces_nothing_that_is_made_meanwhile(tmp_path: Path, first: str) -> None:
    # Forked, it would hold the lock as well.
    looks = multiprocessing.get_context("spawn").Process(target=load_credentials, args=(tmp_path,))
    with alone(tmp_path):
        looks.start()
        looks.join(3)
        assert looks.is_alive(), "it waits"
        made = renew_logins(tmp_path) if first == "a start" else add_login(tmp_path, "ann", "user")
    looks.join(60)
    assert looks.exitcode == 0
    assert load_credentials(tmp_path) == made


def test_those_who_use_it_first_at_once_have_the_same(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    states = [tmp_path / str(number) for number in range(20)]
    for state in states:
        state.mkdir()
        start, found = context.Barrier(2), context.Queue()

        def use(state: Path, *, start: Any = start, found: Any = found) -> None:
            start.wait(30)
            found.put(load_credentials(state))

        processes = [context.Process(target=use, args=(state,)) for _ in range(2)]
        for process in processes:
            process.start()
        one, other = found.get(timeout=30), found.get(timeout=30)
        for process in processes:
            process.join(30)
        assert one == other == load_credentials(state)


def test_processes_of_one_id_write_no_secret_into_each_others_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync = tmp_path / "secret", os.fsync

    def synced(descriptor: int) -> None:
        """Another container, where the process has the same id, writes meanwhile."""
        monkeypatch.setattr(os, "fsync", sync)
        write_secret(path, "another's, which is longer")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    write_secret(path, "one's own")
    assert path.read_text() == "one's own"
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


def test_a_wrong_role_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_USERS", "cfo:king")
    with pytest.raises(MusterError, match=r"'cfo:king'.*viewer, user, op, admin"):
        load_credentials(tmp_path)


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"logins": {}}', "{broken"])
def test_a_damaged_file_is_named_and_never_overwritten(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "credentials.json"
    path.write_text(damage)
    with pytest.raises(MusterError, match=r"credentials\.json is damaged"):
        load_credentials(tmp_path)
    assert path.read_text() == damage


def test_no_secret_shows_when_credentials_are_printed(tmp_path: Path) -> None:
    it = load_credentials(tmp_path)
    kept = json.loads((tmp_path / "credentials.json").read_text())
    assert kept["fernet_key"] not in repr(it)
    assert it.admin.password not in repr(it)


def test_a_secret_file_that_was_open_to_all_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_secret(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
