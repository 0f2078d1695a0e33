"""What `muster users` does: changes the state folder and the file of passwords that Airflow reads at each sign-in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from muster.cli.connections import airflow_elsewhere
from muster.cli.output import console, emit
from muster.errors import MusterError
from muster.local.airflow import write_passwords
from muster.local.credentials import Credentials, add_login, alone, load_credentials, remove_login
from muster.local.project import Project, find_project


def show(*, as_json: bool) -> None:
    """Everybody, with the role and where it comes from."""
    logins = load_credentials(_project().state).logins
    if as_json:
        emit([{"name": name, "role": login.role, "added": login.added} for name, login in logins.items()])
        return
    table = Table.grid(padding=(0, 2))
    for name, login in logins.items():
        table.add_row(name, login.role, "added" if login.added else "")
    console().print(table)


def add(name: str, role: str, *, as_json: bool) -> None:
    """Add somebody who has no login yet."""
    project = _project()
    login = _changed(project, lambda state: add_login(state, name, role)).logins[name]
    if as_json:
        emit({"name": name, "role": role, "password": login.password})
    else:
        console().print(f"{name} ({role}) can sign in with the password {login.password}", markup=False)


def remove(name: str, *, as_json: bool) -> None:
    """Remove somebody whom `add` has added."""
    project = _project()
    _changed(project, lambda state: remove_login(state, name))
    if as_json:
        emit({"name": name, "removed": True})
    else:
        console().print(f"{name} cannot sign in any more.", markup=False)


def _project() -> Project:
    if airflow_elsewhere():
        raise MusterError(
            "Who can sign in is decided where Airflow runs.",
            remedy="Add people there: in MUSTER_USERS and MUSTER_LOGINS of the compose file, else in its auth manager.",
        )
    project = find_project()
    project.make_state()
    return project


def _changed(project: Project, change: Callable[[Path], Credentials]) -> Credentials:
    with alone(project.state):
        credentials = change(project.state)
        write_passwords(project, credentials)
    return credentials
