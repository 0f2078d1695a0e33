"""Builds what the domain works with from Airflow's connections, in a worker and in the triggerer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from airflow.sdk import Connection, Context

from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.events.personal import load_master
from muster.events.verified import Verified
from muster.execution import RunLog, Services, bundle_version
from muster.redaction import learn_environment
from muster_airflow.connections import CONNECTION, dsn_in_server, dsn_of
from muster_airflow.reference import question_page

T = TypeVar("T")
IN_WORKER = {"max_size": 4, "turns": 4}
"""Database connections for the log, leases and effects of one task process, and how many items may have transactions
of their own beside them at a time."""
IN_TRIGGERER = {"max_size": 12, "turns": 8}
"""The same for all that one triggerer does."""
IN_SERVER = {"max_size": 1, "turns": 1}


def run(services: Services, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of the domain in this process, and close the connections it opened."""
    return services.database.run(work)


def services_in_server() -> Services:
    """Services for one request to Airflow's API server, in a thread of its own.

    Raises:
        TransientError: there is no connection to Muster's database.
    """
    dsn = dsn_in_server()
    # Never shared: a request that is done closes all connections of its services, and those of a request in another
    # thread would be among them.
    services = _make(dsn, str(site_skills(None)), **IN_SERVER)
    services.log.verified = _verified_in_server(dsn)
    return services


def services_in_worker(context: Context) -> Services:
    """Services for a task process."""
    return _services(dsn_of(Connection.get(CONNECTION)), str(site_skills(context)), **IN_WORKER)


async def services_in_triggerer(run: str | None = None) -> Services:
    """Services for the triggerer: one database for all of its coroutines, the skills of the run's own version."""
    connection = await Connection.async_get(CONNECTION)
    shared = _services(dsn_of(connection), str(site_skills(None)), **IN_TRIGGERER)
    version = await bundle_version(shared, run) if run is not None else None
    # In a thread, because the version may have to be read from disk or fetched from the database.
    pinned = await asyncio.to_thread(pinned_skills, version)
    return shared if pinned is None else replace(shared, site=pinned)


def site_skills(context: Context | None) -> Path:
    """The site's own skills: of the run's version in a worker, else of the configured folder."""
    bundle = getattr(context["ti"], "bundle_instance", None) if context is not None else None
    if bundle is not None and (pinned := bundle.path.parent / "include" / "skills").is_dir():
        return Path(pinned)
    return include_folder() / "skills"


def include_folder() -> Path:
    """The configured folder that holds the automations."""
    project = Path(os.environ.get("MUSTER_PROJECT", ""))
    return Path(os.environ.get("MUSTER_INCLUDE") or project / "include")


def pinned_skills(version: str | None) -> Path | None:
    """The site's own skills in a version that a bundle has published; None when no bundle keeps versions here.

    Raises:
        VersionGone: neither this machine nor the database has the version as it was published.
        TransientError: this machine does not have the version, and the database was lost.
    """
    if version is None:
        return None
    from muster_airflow.versions import pinned_folder, store

    with store() as find:
        folder = pinned_folder(version, find)
    return folder / "include" / "skills" if folder is not None else None


def artifacts() -> Path:
    """The folder for files that runs make."""
    return Path(os.environ.get("MUSTER_ARTIFACTS") or state_folder() / "artifacts")


def state_folder() -> Path:
    """The folder for what Muster keeps outside of its database."""
    return Path(os.environ.get("MUSTER_STATE") or os.environ.get("AIRFLOW_HOME") or "~/airflow").expanduser()


def _state() -> Path | None:
    """The folder that the local stack keeps its secrets in."""
    return Path(folder) if (folder := os.environ.get("MUSTER_STATE")) else None


@lru_cache(maxsize=4)
def _verified_in_server(dsn: str) -> Verified:
    """What all requests to this API server have verified: an answer costs what is new in the log since the last."""
    return Verified()


@lru_cache(maxsize=4)
def _services(dsn: str, site: str, **connections: int) -> Services:
    return _make(dsn, site, **connections)


def _make(dsn: str, site: str, **connections: int) -> Services:
    from muster_airflow.models import ConnectionModels
    from muster_airflow.notifications import airflow_sender

    learn_environment()
    database = Database(dsn, **connections)
    log = RunLog(database, partial(load_master, _state()))
    return Services(
        database=database,
        log=log,
        definitions=DefinitionStore(database),
        models=ConnectionModels(),
        notices=airflow_sender(database, log.aseals),
        artifacts=artifacts(),
        site=Path(site),
        readable=(include_folder() / "inbox",),
        pinned=pinned_skills,
        page=question_page,
    )
