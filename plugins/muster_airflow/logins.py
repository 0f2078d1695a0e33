"""People whom `muster users add` has added while Airflow runs.

Airflow's simple auth manager reads its list of people from a setting, and the passwords from a file, at each sign-in.
The setting is a variable of the process, so it is brought up to date in the API server before anybody signs in or is
asked.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from muster.local.credentials import added_logins

SETTING = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"
SIGN_IN = "/auth/"
"""Where Airflow mounts what people sign in with."""

_added: set[str] = set()
"""The people whom `read_anew` has put into the setting."""


class Logins:
    """In front of all that Airflow's API server answers."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Before a sign-in the list is read anew."""
        if SIGN_IN in scope.get("path", ""):
            read_anew()
        await self._app(scope, receive, send)


def read_anew() -> None:
    """Set Airflow's list of people to those it was started with and those whom `muster users add` has added by now."""
    global _added
    state, listed = os.environ.get("MUSTER_STATE"), os.environ.get(SETTING)
    if not state or not listed:
        return
    # Those whom the last call added are left out first: one who was removed since must not sign in any more.
    started = [entry for entry in listed.split(",") if entry.partition(":")[0].strip() not in _added]
    names = {entry.partition(":")[0].strip() for entry in started}
    added = {name: login.role for name, login in added_logins(Path(state)).items() if name not in names}
    os.environ[SETTING], _added = ",".join([*started, *(f"{name}:{role}" for name, role in added.items())]), set(added)
