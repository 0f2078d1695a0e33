"""Airflow's processes get what they need, what a person sets wins where it may, and the rest is ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from muster.local.airflow import COMPONENTS, Ports, component_specs, connection_json, environment, sqlalchemy_url
from muster.local.credentials import load_credentials
from muster.local.databases import Databases
from muster.local.project import Project

DATABASES = Databases("postgresql://a:p%40ss@127.0.0.1:5433/airflow", "postgresql://m:q@127.0.0.1:5433/muster", "here")
PORTS = Ports(8080, 9001, 9002)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "a project", tmp_path / "a project" / ".muster")
    (made.root / "include" / "automations").mkdir(parents=True)
    made.make_state()
    return made


def made(project: Project, inherited: dict[str, str] | None = None) -> dict[str, str]:
    credentials = load_credentials(project.state)
    return environment(project, credentials, DATABASES, PORTS, inherited=inherited or {})


def test_a_person_may_tune_but_not_break_the_wiring(project: Project) -> None:
    env = made(
        project,
        {
            "AIRFLOW__CORE__PARALLELISM": "3",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "sqlite:///else.db",
            "AIRFLOW_CONN_FAST": "pydanticai://",
        },
    )
    assert env["AIRFLOW__CORE__PARALLELISM"] == "3"
    assert env["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert env["AIRFLOW_CONN_FAST"] == "pydanticai://"
    assert make_url(env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]).password == "p@ss"


def test_processes_share_keys_and_keep_off_shared_folders(project: Project) -> None:
    env, credentials = made(project), load_credentials(project.state)
    assert env["AIRFLOW__CORE__FERNET_KEY"] == credentials.fernet_key
    assert env["AIRFLOW__API_AUTH__JWT_SECRET"] == credentials.jwt_secret
    for name in (
        "AIRFLOW_HOME",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH",
    ):
        assert env[name].startswith(str(project.state))


def test_a_warning_that_nobody_can_act_on_is_not_in_every_tasks_log(project: Project) -> None:
    said = (
        "import pathspec.patterns.gitwildmatch as it; it.GitWildMatchPattern('*.py')\n"
        "import warnings; warnings.warn('mine')"
    )
    variables = made(project, {"PYTHONWARNINGS": "always"})
    done = subprocess.run(
        [sys.executable, "-c", said], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    assert "GitWildMatchPattern" not in done.stderr
    assert "UserWarning: mine" in done.stderr


def test_loopback_is_never_asked_through_a_proxy(project: Project) -> None:
    env = made(project, {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "intranet,127.0.0.1"})
    assert env["NO_PROXY"].split(",") == ["intranet", "127.0.0.1", "localhost"]
    assert env["no_proxy"] == env["NO_PROXY"]


def test_a_project_of_nothing_but_automations_is_published_in_versions(project: Project) -> None:
    [bundle] = json.loads(made(project)["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    assert bundle["classpath"] == "muster_airflow.bundle.MusterBundle"
    assert bundle["kwargs"] == {"path": str(project.root), "refresh_interval": 5}


def test_parallelism_follows_the_number_of_cpus(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    for cpus in (1, 2, 8, 128):
        monkeypatch.setattr("muster.local.airflow.cpu_count", lambda cpus=cpus: cpus)
        seen[cpus] = int(made(project)["AIRFLOW__CORE__PARALLELISM"])
    assert seen == {1: 2, 2: 4, 8: 16, 128: 32}


def test_schemas_and_tls_reach_both_drivers(project: Project) -> None:
    dsn = (
        "host=db.example port=6432 dbname=shop user=u password='p w/@' sslmode=require options='-csearch_path=airflow'"
    )
    url = make_url(sqlalchemy_url(dsn))
    assert (url.drivername, url.host, url.port, url.database) == ("postgresql+psycopg", "db.example", 6432, "shop")
    assert url.password == "p w/@"
    assert url.query == {"sslmode": "require", "options": "-csearch_path=airflow"}
    connection = json.loads(connection_json(dsn))
    assert connection["password"] == "p w/@"
    assert connection["extra"] == {"sslmode": "require", "options": "-csearch_path=airflow"}


def test_there_are_four_processes_each_with_a_log_of_its_own(project: Project) -> None:
    specs = component_specs(project, made(project))
    assert [spec.name for spec in specs] == list(COMPONENTS)
    assert len({spec.log for spec in specs}) == 4
    assert all(spec.log.parent == project.logs for spec in specs)
