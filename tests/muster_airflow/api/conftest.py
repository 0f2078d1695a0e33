"""One real Airflow API server for the session, with a metadata database of its own; a fresh log for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from muster.database import Database
from muster.language import Definition, load_folder
from muster.local.airflow import connection_json

AUTOMATION = """
automation: greeting
title: Greeting <b>everyone</b>
category: proving
department: quality
description: Says hello.
inputs:
  names: {type: array, items: {type: string}, default: [a]}
steps:
  # This comment is only in what was written.
  - {id: greet, title: Say hello, each: "{{ inputs.names }}", pack: 2, skill: proving.upper, with: {text: "{{ item }}"}}
  - {id: tell, notify: [{slack: "#ops", text: done}]}
  - {id: shell, operator: airflow.providers.standard.operators.bash.BashOperator, with: {bash_command: "true"}}
"""
SKILL = """
from muster.skills import skill

@skill('proving.upper')
def upper(text: str) -> str:
    "Up."
    return text.upper()
"""


@pytest.fixture(scope="session")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one automation."""
    folder = tmp_path_factory.mktemp("project") / "include"
    for name, content in {"automations/greeting.yaml": AUTOMATION, "skills/proving.py": SKILL}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="session")
def definition(include: Path) -> Definition:
    """What the automation says."""
    return load_folder(include).definitions["greeting"]


@pytest.fixture(scope="session")
def server(include: Path) -> Iterator[TestClient]:
    """Airflow's API server with the plugin; the automation is published, beside a Dag that is none."""
    from airflow.api_fastapi.app import create_app
    from airflow.utils.db import initdb

    initdb()
    _publish(include)
    # What a browser sees when a page breaks, in place of the exception.
    with TestClient(create_app(apps="core"), raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture
def log(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A fresh database for the log, which the server finds through its connection."""
    from muster_airflow.api import access

    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    handle = Database(dsn)
    yield handle
    handle.close()
    access._database(_dsn_in_server()).close()
    access._database.cache_clear()


@pytest.fixture
def token(server: TestClient) -> Callable[[str | None], dict[str, str]]:
    """Headers of a person with a role of Airflow's, or with none."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    def headers(role: str | None) -> dict[str, str]:
        user = SimpleAuthManagerUser(username=f"the-{role}", role=role)
        return {"Authorization": f"Bearer {get_auth_manager().generate_jwt(user)}"}

    return headers


@pytest.fixture
def viewer(server: TestClient, token: Callable[[str | None], dict[str, str]]) -> Callable[..., httpx.Response]:
    """Gets a page as somebody who may see everything and change nothing."""
    return lambda path, **headers: server.get(path, headers=token("viewer") | headers)


def _dsn_in_server() -> str:
    from airflow.models.connection import Connection

    from muster_airflow.connections import CONNECTION, dsn_of

    return dsn_of(Connection.get_connection_from_secrets(CONNECTION))


def _publish(include: Path) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.sdk import DAG

    from muster_airflow.loading import load_automations

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(dag_folder=os.devnull, collect_dags=False)
    namespace: dict[str, object] = {}
    load_automations(namespace, include)
    for dag in [namespace["greeting"], DAG("foreign", schedule=None)]:
        bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
