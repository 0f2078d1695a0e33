"""The compose file is valid, complete, and has no password of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from muster.local.airflow import _tuning

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yaml"
AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
PLAIN = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A command's outcome, with no secret in its environment."""
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT, env=PLAIN
    )


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `docker/make-env.py` writes."""
    path = tmp_path_factory.mktemp("env") / ".env"
    done = run(sys.executable, "docker/make-env.py", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def resolved(env_file: Path) -> dict[str, Any]:
    """The compose file as Docker Compose understands it."""
    done = run(compose(), "--env-file", env_file, "-f", COMPOSE, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def compose() -> Path:
    """Docker Compose, as the development requirements bring it."""
    return Path(sys.executable).parent / "docker-compose"


def test_it_follows_the_compose_specification() -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    done = run(checker, "--builtin-schema", "vendor.compose-spec", COMPOSE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "missing",
    [
        "POSTGRES_PASSWORD",
        "AIRFLOW_DB_PASSWORD",
        "MUSTER_DB_PASSWORD",
        "FERNET_KEY",
        "JWT_SECRET",
        "MUSTER_LOGINS",
    ],
)
def test_without_a_secret_it_does_not_start_and_says_what_to_do(env_file: Path, tmp_path: Path, missing: str) -> None:
    rest = [line for line in env_file.read_text().splitlines() if not line.startswith(f"{missing}=")]
    partial = tmp_path / ".env"
    partial.write_text("\n".join(rest))
    done = run(compose(), "--env-file", partial, "-f", COMPOSE, "config", "-q")
    assert done.returncode != 0
    assert missing in done.stderr
    assert "make-env.py" in done.stderr


def test_secrets_are_random_private_and_never_overwritten(env_file: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    before = env_file.read_text()
    assert run(sys.executable, "docker/make-env.py", env_file).returncode == 1
    assert env_file.read_text() == before
    run(sys.executable, "docker/make-env.py", tmp_path / ".env")
    other = (tmp_path / ".env").read_text().splitlines()
    same = set(before.splitlines()) & set(other)
    assert {line for line in same if not line.startswith("MUSTER_PORT=")} == set()


def test_a_port_that_is_in_use_is_said_and_another_one_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        with contextlib.suppress(OSError):  # whoever has it already does as well
            other.bind(("127.0.0.1", 8080))
            other.listen()
        done = run(sys.executable, "docker/make-env.py", tmp_path / ".env")
    [port] = re.findall(r"^MUSTER_PORT=(\d+)$", (tmp_path / ".env").read_text(), re.MULTILINE)
    assert f"Port 8080 is in use by another program, so MUSTER_PORT is {port}." in done.stdout
    assert f"http://localhost:{port}" in done.stdout
    done = run(compose(), "--env-file", tmp_path / ".env", "-f", COMPOSE, "config", "--format", "json")
    services = json.loads(done.stdout)["services"]
    assert [each["published"] for each in services["api-server"]["ports"]] == [port]
    assert services["scheduler"]["environment"]["AIRFLOW__API__BASE_URL"] == f"http://localhost:{port}"


def test_the_folder_for_invoices_is_made_for_who_makes_the_secrets(env_file: Path) -> None:
    assert (env_file.parent / "inbox" / "invoices").is_dir()


def test_the_folder_for_invoices_is_made_beside_secrets_that_are_there_already(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("of an older version\n")
    assert run(sys.executable, "docker/make-env.py", tmp_path / ".env").returncode == 1
    assert (tmp_path / "inbox" / "invoices").is_dir()


def test_the_inbox_is_where_the_automations_look_and_cannot_be_written_to(resolved: dict[str, Any]) -> None:
    settings = yaml.safe_load((ROOT / "include" / "settings.yaml").read_text())
    for name in AIRFLOW:
        mounts = {mount["target"]: mount for mount in resolved["services"][name]["volumes"]}
        # A path of the settings counts from the folder that processes begin in.
        inbox = mounts[f"/opt/muster/{settings['inbox']}"]
        assert inbox["type"] == "bind"
        assert inbox["read_only"] is True
    assert "\nWORKDIR /opt/muster\n" in (ROOT / "Dockerfile").read_text()


def test_the_image_is_built_once_and_never_asked_of_a_registry(resolved: dict[str, Any]) -> None:
    ours = {name: service for name, service in resolved["services"].items() if name != "postgres"}
    assert [name for name, service in ours.items() if "build" in service] == ["migrate"]
    assert {(service["image"], service["pull_policy"]) for service in ours.values()} == {("muster:0.1.0", "never")}


def test_containers_are_tuned_as_muster_up_tunes() -> None:
    ours = yaml.safe_load(COMPOSE.read_text())["x-airflow"]["environment"]
    # What depends on the machine: `.env` says it.
    of_the_machine = {"parallelism", "parsing_processes", "statsd_on"}
    for section, options in _tuning(2).items():
        for option, value in options.items():
            if option not in of_the_machine:
                assert ours[f"AIRFLOW__{section.upper()}__{option.upper()}"] == str(value), option


def test_the_command_finds_the_database_and_airflow(resolved: dict[str, Any]) -> None:
    for name in AIRFLOW:
        variables = resolved["services"][name]["environment"]
        assert variables["MUSTER_DSN"] == variables["AIRFLOW_CONN_MUSTER_DB"]
        assert variables["AIRFLOW_URL"] == "http://api-server:8080"


def test_a_mounted_include_is_the_images_and_cannot_be_written_to(env_file: Path) -> None:
    files = ("-f", COMPOSE, "-f", ROOT / "docker" / "edit.yaml")
    done = run(compose(), "--env-file", env_file, *files, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    for name in AIRFLOW:
        mounts = {mount["target"]: mount for mount in json.loads(done.stdout)["services"][name]["volumes"]}
        assert mounts["/opt/muster/include"]["source"] == str(ROOT / "include"), name
        assert mounts["/opt/muster/include"]["read_only"] is True, name
        assert set(mounts) == {"/opt/muster/include", "/opt/muster/inbox", "/var/lib/muster"}, name


def test_every_component_has_a_health_check_and_waits_for_the_migration(resolved: dict[str, Any]) -> None:
    for name in AIRFLOW:
        service = resolved["services"][name]
        assert service["healthcheck"]["test"], name
        assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully", name
        assert service["restart"] == "unless-stopped", name
    assert resolved["services"]["postgres"]["healthcheck"]["test"]


def test_only_the_web_server_is_reachable_and_only_from_this_machine(resolved: dict[str, Any]) -> None:
    published = {name: service.get("ports", []) for name, service in resolved["services"].items()}
    assert [name for name, ports in published.items() if ports] == ["api-server"]
    assert [port["host_ip"] for port in published["api-server"]] == ["127.0.0.1"]


def test_airflow_runs_without_privileges(resolved: dict[str, Any]) -> None:
    for name in (*AIRFLOW, "migrate"):
        service = resolved["services"][name]
        assert service["user"] == "50000", name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name


def test_only_the_job_sees_the_superuser_and_the_logins(resolved: dict[str, Any]) -> None:
    holders = {
        name
        for name, service in resolved["services"].items()
        if {"MUSTER_SUPERUSER_DSN", "MUSTER_LOGINS"} & set(service.get("environment", {}))
    }
    assert holders == {"migrate"}


def test_logins_reach_the_job_as_the_json_they_are(resolved: dict[str, Any]) -> None:
    logins = json.loads(resolved["services"]["migrate"]["environment"]["MUSTER_LOGINS"])
    assert set(logins) == {"admin", "finance-lead"}


def test_the_image_copies_only_files_that_the_build_context_holds() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        part.partition("/")[0]
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for part in line.split()[1:-1]
    }
    assert copied == kept
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_an_image_version_is_the_projects(resolved: dict[str, Any]) -> None:
    version = resolved["services"]["migrate"]["image"].partition(":")[2]
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
