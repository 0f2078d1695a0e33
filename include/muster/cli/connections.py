"""Where the commands find the database and Airflow: what the environment names, else what runs here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from muster.errors import MusterError
from muster.local.credentials import load_credentials
from muster.local.project import Project, find_project
from muster.local.running import find_running

if TYPE_CHECKING:
    # Imported where they are used: drivers and clients are heavy, and most commands need one of them.
    from muster.database import Database
    from muster.events.log import EventLog
    from muster.events.queries import Queries
    from muster.local.client import AirflowClient


def muster_dsn(project: Project) -> str:
    """The DSN of Muster's database: MUSTER_DSN, else the one of what runs here.

    Raises:
        Unreachable: neither is there.
    """
    if dsn := os.environ.get("MUSTER_DSN"):
        return dsn
    running = find_running(project.state)
    if running is None:
        from muster.local.client import Unreachable

        raise Unreachable(
            "Muster is not running, so its database is not either.",
            remedy="Start it with `muster up`, or name a database with MUSTER_DSN.",
        )
    return running.dsn


def open_database() -> Database:
    """Muster's database; close it afterwards."""
    from muster.database import Database

    return Database(muster_dsn(find_project()), max_size=2, timeout=10)


@contextmanager
def open_queries() -> Iterator[tuple[Queries, Database]]:
    """Queries to Muster's database, with personal data opened, and the database, which is closed afterwards."""
    from muster.events.queries import Queries

    with closing(open_database()) as database:
        yield Queries(database, open_log(database)), database


def open_log(database: Database) -> EventLog:
    """The log with personal data opened: a person at this machine may read what its key opens."""
    # Imported here, because few commands need the language, which says what is personal.
    from muster.events.personal import load_master
    from muster.execution.personal import PersonalLog

    return PersonalLog(database, partial(load_master, find_project().state))


def airflow(user: str) -> AirflowClient:
    """Airflow's REST API, signed in as `user`: the one that AIRFLOW_URL names, else what runs here.

    Raises:
        Unreachable: nothing runs here.
        MusterError: there is no such login.
    """
    from muster.local.client import AirflowClient, Unreachable

    if url := airflow_elsewhere():
        return AirflowClient(url, user, _password(user))
    project = find_project()
    running = find_running(project.state)
    if running is None:
        raise Unreachable("Muster is not running.", remedy="Start it with `muster up`.")
    logins = load_credentials(project.state).logins
    if user not in logins:
        raise MusterError(
            f"There is no login {user!r}; there are {', '.join(logins)}.",
            remedy=f"Add it with `muster users add {user}`.",
        )
    return AirflowClient(running.url.replace("localhost", "127.0.0.1"), user, logins[user].password)


def in_airflow(run: str) -> tuple[str, str]:
    """The ids of the Dag and of the Dag run of a run."""
    dag_id, _, run_id = run.partition("/")
    return dag_id, run_id


def outage_like(error: MusterError) -> type[MusterError]:
    """The class for an error that follows from this one: scripts are told by it that Airflow does not answer."""
    from muster.local.client import Unreachable

    return Unreachable if isinstance(error, Unreachable) else MusterError


def airflow_elsewhere() -> str | None:
    """The address of an Airflow that is not started by `muster up`, as AIRFLOW_URL names it."""
    return os.environ.get("AIRFLOW_URL") or None


def _password(user: str) -> str:
    """MUSTER_PASSWORD, else what is in the file of Airflow's simple auth manager, where it can be read from here."""
    named = os.environ.get("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE")
    if (given := os.environ.get("MUSTER_PASSWORD")) or not named or not Path(named).is_file():
        return given or ""
    logins: dict[str, str] = json.loads(Path(named).read_text())
    if user not in logins:
        raise MusterError(
            f"There is no login {user!r}; there are {', '.join(logins)}.",
            remedy="Add one to MUSTER_USERS and MUSTER_LOGINS, or give MUSTER_PASSWORD.",
        )
    return logins[user]
