"""The one place of the settings and commands of Airflow's four processes on one machine."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster.local.credentials import Credentials, write_secret
from muster.local.processes import ProcessSpec
from muster.local.project import Project

if TYPE_CHECKING:
    from muster.local.databases import Databases

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
"""Airflow's four processes, in the order in which they are started."""
HEALTH_NAMES = {"api-server": "metadatabase", "dag-processor": "dag_processor"}
"""What Airflow's health report calls a component, where the names differ."""


@dataclass(frozen=True)
class Ports:
    """TCP ports on loopback."""

    web: int
    """UI and REST."""
    worker_logs: int
    trigger_logs: int


def environment(
    project: Project,
    credentials: Credentials,
    databases: Databases,
    ports: Ports,
    *,
    host: str = "127.0.0.1",
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The environment of Airflow's processes.

    What the caller's environment says wins over the tuning, and what must be so for the parts to fit wins over both.
    """
    given = dict(os.environ if inherited is None else inherited)
    return {
        **_named(_tuning(cpu_count())),
        **given,
        **_named(_required(project, credentials, databases, ports, host)),
        **_plain(project, databases, given),
    }


def component_specs(project: Project, variables: Mapping[str, str]) -> list[ProcessSpec]:
    """The four processes."""
    return [
        ProcessSpec(
            name=name,
            command=[sys.executable, "-P", "-m", "airflow", name],
            environment=variables,
            log=project.logs / f"{name}.log",
            folder=project.root,
            grace=12.0,
            # Stopped last: tasks that end while the scheduler stops report to the API server.
            foundation=name == "api-server",
            # At SIGTERM to the triggerer alone, its runner process would wait 10 s for its parent, which waits for the
            # runner. SIGINT to the group, as from a terminal, reaches both.
            stop=signal.SIGINT if name == "triggerer" else signal.SIGTERM,
            stop_group=name == "triggerer",
        )
        for name in COMPONENTS
    ]


def cpu_count() -> int:
    """CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def sqlalchemy_url(dsn: str) -> str:
    """A DSN as the URL Airflow takes; psycopg 3 is the one driver for its sync and its async engine."""
    from psycopg.conninfo import conninfo_to_dict
    from sqlalchemy.engine import URL

    parts = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    url = URL.create(
        "postgresql+psycopg",
        username=parts.pop("user", None),
        password=parts.pop("password", None),
        host=parts.pop("host", None),
        port=int(parts.pop("port", "5432")),
        database=parts.pop("dbname", None),
        query=parts,
    )
    return url.render_as_string(hide_password=False)


def connection_json(dsn: str) -> str:
    """A DSN as an Airflow connection."""
    from psycopg.conninfo import conninfo_to_dict

    parts = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    connection = {
        "conn_type": "postgres",
        "host": parts.pop("host", ""),
        "port": int(parts.pop("port", "5432")),
        "login": parts.pop("user", ""),
        "password": parts.pop("password", ""),
        "schema": parts.pop("dbname", ""),
    }
    return json.dumps(connection | ({"extra": parts} if parts else {}))


def _tuning(cpus: int) -> dict[str, dict[str, object]]:
    return {
        "core": {
            # Airflow's default of 32 starves a small machine: API requests time out.
            "parallelism": max(2, min(2 * cpus, 32)),
            "max_active_tasks_per_dag": 64,
            # A run that waits for a person counts as active for days.
            "max_active_runs_per_dag": 200,
            "max_map_length": 10_000,
            "dags_are_paused_at_creation": False,
            "min_serialized_dag_update_interval": 1,
            "dagbag_import_timeout": 60,
            # A name server that does not answer would delay the start of every task.
            "hostname_callable": "socket.gethostname",
        },
        "database": {"sql_alchemy_pool_size": 5, "sql_alchemy_max_overflow": 15},
        "api": {"workers": 1, "auto_refresh_interval": 2, "instance_name": "Muster"},
        "logging": {"colored_console_log": False},
        "scheduler": {
            "scheduler_idle_sleep_time": 0.5,
            "job_heartbeat_sec": 3,
            # Work whose process was killed is taken up again within a minute, not within ten.
            "orphaned_tasks_check_interval": 30,
            "task_instance_heartbeat_timeout": 60,
            "trigger_timeout_check_interval": 5,
        },
        "triggerer": {"capacity": 2000, "max_trigger_to_select_per_loop": 500},
        "dag_processor": {
            # An edit must show within 15 s.
            "refresh_interval": 5,
            "bundle_refresh_check_interval": 2,
            "min_file_process_interval": 10,
            "parsing_processes": 1 if cpus <= 2 else 2,
            "print_stats_interval": 300,
        },
        "metrics": {"statsd_on": False},
    }


def _required(
    project: Project, credentials: Credentials, databases: Databases, ports: Ports, host: str
) -> dict[str, dict[str, object]]:
    url = sqlalchemy_url(databases.airflow)
    local = f"http://127.0.0.1:{ports.web}"
    return {
        "core": {
            "executor": "LocalExecutor",
            "dags_folder": project.dags,
            "plugins_folder": project.plugins,
            "load_examples": False,
            "fernet_key": credentials.fernet_key,
            "execution_api_server_url": f"{local}/execution/",
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            # Without the logins that a command has added: these come and go while Airflow runs, so its API server reads
            # them at each sign-in.
            "simple_auth_manager_users": ",".join(
                f"{name}:{login.role}" for name, login in credentials.logins.items() if not login.added
            ),
            "simple_auth_manager_passwords_file": password_file(project),
        },
        "database": {"sql_alchemy_conn": url, "sql_alchemy_conn_async": url},
        "api": {
            "host": host,
            "port": ports.web,
            "base_url": f"http://localhost:{ports.web}",
            "secret_key": credentials.api_secret,
        },
        "api_auth": {"jwt_secret": credentials.jwt_secret},
        "logging": {
            "base_log_folder": project.airflow_home / "logs",
            "dag_processor_child_process_log_directory": project.airflow_home / "logs" / "dag_processor",
            "worker_log_server_port": ports.worker_logs,
            "trigger_log_server_port": ports.trigger_logs,
        },
        "dag_processor": {
            "dag_bundle_config_list": json.dumps([bundle(project)]),
            # By default it would be a folder below /tmp that all projects share and a reboot empties.
            "dag_bundle_storage_path": project.airflow_home / "bundles",
        },
    }


def bundle(project: Project) -> dict[str, object]:
    """The one Dag bundle: a version for each state of the automations."""
    return {
        "name": "muster",
        "classpath": "muster_airflow.bundle.MusterBundle",
        "kwargs": {"path": str(project.root), "refresh_interval": 5},
    }


def password_file(project: Project) -> Path:
    """Where Airflow's simple auth manager reads the passwords."""
    return project.airflow_home / "passwords.json"


def write_passwords(project: Project, credentials: Credentials) -> None:
    """Write Airflow's file of passwords; the people in it can sign in from then on."""
    passwords = {name: login.password for name, login in credentials.logins.items()}
    write_secret(password_file(project), json.dumps(passwords))


def _plain(project: Project, databases: Databases, given: Mapping[str, str]) -> dict[str, str]:
    # Airflow's processes talk to each other on loopback, which no proxy may get between.
    direct = [
        *filter(None, given.get("NO_PROXY", given.get("no_proxy", "")).split(",")),
        "127.0.0.1",
        "localhost",
    ]
    no_proxy = ",".join(dict.fromkeys(direct))
    return {
        "AIRFLOW_HOME": str(project.airflow_home),
        "AIRFLOW_CONN_MUSTER_DB": connection_json(databases.muster),
        "MUSTER_PROJECT": str(project.root),
        "MUSTER_STATE": str(project.state),
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "PYTHONUNBUFFERED": "1",
        # Of a library that Airflow uses, in the log of every task: nobody here can do anything about it.
        "PYTHONWARNINGS": ",".join(filter(None, [given.get("PYTHONWARNINGS"), "ignore:GitWildMatchPattern"])),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), given.get("PATH", os.defpath)]),
    }


def _named(sections: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    # Airflow reads `%` as the start of an interpolation only in its file, never in the environment.
    return {
        f"AIRFLOW__{section.upper()}__{key.upper()}": str(value)
        for section, settings in sections.items()
        for key, value in settings.items()
    }
