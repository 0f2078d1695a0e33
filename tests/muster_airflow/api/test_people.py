"""Promises of who is who: a person is one name, whatever an auth manager calls them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUTH = Path(sys.prefix) / "auth"
CALLED = """
import json
{make}
print("called", json.dumps([user.get_id(), user.get_name()]))
"""
MADE = {
    "fab": "from airflow.providers.fab.auth_manager.models import User\nuser = User(id=7, username='ada')",
    # As its login does from the claims of a token: `sub` and `preferred_username`.
    "keycloak": "from airflow.providers.keycloak.auth_manager.user import KeycloakAuthManagerUser as User\n"
    "user = User(user_id='6f1c-sub', name='ada', access_token='', refresh_token=None)",
    "simple": "from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser as User\n"
    "user = User(username='ada', role='user')",
}


@pytest.mark.parametrize(("manager", "id"), [("fab", "7"), ("keycloak", "6f1c-sub"), ("simple", "ada")])
def test_the_name_is_what_people_sign_in_with_and_the_id_may_be_another(manager: str, id: str) -> None:
    if not AUTH.is_dir():
        pytest.skip("the auth managers are not installed beside the project: `make .venv/.auth`")
    called = subprocess.run(
        [sys.executable, "-P", "-c", CALLED.format(make=MADE[manager])],
        env={**os.environ, "PYTHONPATH": str(AUTH)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert called.returncode == 0, called.stderr[-2000:]
    line = next(line for line in called.stdout.splitlines() if line.startswith("called "))
    assert json.loads(line.removeprefix("called ")) == [id, "ada"]


@pytest.mark.parametrize("claims", ['"sub"]', '"preferred_username"]'])
def test_keycloaks_login_takes_the_claims_that_the_contract_names(claims: str) -> None:
    if not AUTH.is_dir():
        pytest.skip("the auth managers are not installed beside the project: `make .venv/.auth`")
    login = AUTH / "airflow" / "providers" / "keycloak" / "auth_manager" / "routes" / "login.py"
    field = {'"sub"]': "user_id=userinfo[", '"preferred_username"]': "name=userinfo["}[claims]
    assert field + claims in login.read_text()


def test_the_simple_manager_is_asked_for_its_people(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    from muster_airflow.people import known_ids

    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "ada:admin,bob:user")
    assert known_ids(SimpleAuthManager(), ["ada", "later"]) == {"ada": "ada", "later": "later"}
    assert known_ids(SimpleAuthManager(), ["nobody"]) == {}


def test_a_manager_that_cannot_be_asked_leaves_it_to_the_name() -> None:
    from muster_airflow.people import known_ids

    class KeycloakAuthManager:
        pass

    manager: Any = KeycloakAuthManager()
    assert known_ids(manager, ["ada"]) is None
