"""Promises of `muster users`: whoever is added signs in at once, and whoever is removed does not any more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from muster.cli.app import app
from muster_airflow import logins
from muster_airflow.people import known_ids


@pytest.fixture
def muster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command in a project whose Airflow the server is."""
    (tmp_path / "include" / "automations").mkdir(parents=True)
    monkeypatch.delenv("AIRFLOW_URL", raising=False)
    monkeypatch.setattr(logins, "_added", set())
    state = tmp_path / ".muster"
    for name, value in {
        "MUSTER_PROJECT": tmp_path,
        "MUSTER_STATE": state,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,finance-lead:user",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": state / "airflow" / "passwords.json",
    }.items():
        monkeypatch.setenv(name, str(value))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["users", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_who_is_added_signs_in_at_once_and_who_is_removed_does_not_any_more(
    server: TestClient, muster: Callable[..., str]
) -> None:
    def sign_in(name: str, password: str) -> int:
        return server.post("/auth/token", json={"username": name, "password": password}).status_code

    added = json.loads(muster("add", "cfo", "--json"))
    assert (added["name"], added["role"]) == ("cfo", "user")
    assert sign_in("cfo", "wrong") == 401
    assert sign_in("cfo", added["password"]) == 201
    viewer = json.loads(muster("add", "auditor", "--role", "viewer", "--json"))
    assert (sign_in("auditor", viewer["password"]), sign_in("cfo", added["password"])) == (201, 201)
    assert [(it["name"], it["role"], it["added"]) for it in json.loads(muster("--json"))] == [
        ("admin", "admin", False),
        ("finance-lead", "user", False),
        ("cfo", "user", True),
        ("auditor", "viewer", True),
    ]
    muster("remove", "cfo")
    assert (sign_in("cfo", added["password"]), sign_in("auditor", viewer["password"])) == (401, 201)


def test_a_question_can_be_put_to_who_is_added_before_they_sign_in(
    server: TestClient, muster: Callable[..., str]
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    assert known_ids(get_auth_manager(), ["cfo"]) == {}
    muster("add", "cfo")
    assert known_ids(get_auth_manager(), ["cfo"]) == {"cfo": "cfo"}
