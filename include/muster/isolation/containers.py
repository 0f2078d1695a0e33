"""Containers for programs, by the command `docker`: its engine holds the limits, and exactly."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from muster.isolation.machine import PATH, NotIsolated

LABEL = "muster.workspace"
"""The label of a container that names its workspace."""
_SECONDS = 30


def find_docker() -> str:
    """The path of Docker's command, whose engine answers.

    Raises:
        NotIsolated: there is none, or it does not answer.
    """
    docker = shutil.which("docker", path=f"{PATH}:{os.environ.get('PATH', '')}")
    if docker is None:
        raise NotIsolated(
            "The program wants a container, and there is no `docker` on this machine.",
            remedy="Install Docker where Airflow's processes run, or write `isolation: folder`.",
        )
    why = "it does not answer"
    with suppress(OSError, subprocess.SubprocessError):
        asked = [docker, "version", "--format", "{{.Server.Version}}"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if not done.returncode:
            return docker
        why = done.stderr.strip()[-300:]
    raise NotIsolated(f"The program wants a container, and Docker's engine cannot be used: {why}.")


def command_of(
    docker: str,
    name: str,
    image: str,
    program: Sequence[str],
    *,
    writable: Sequence[str],
    readable: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    limits: Mapping[str, int],
    network: bool,
) -> list[str]:
    """The words that run a program in a container of that name, with the values of its variables in the environment."""
    memory = f"{limits['memory_mb']}m"
    words = [docker, "run", "--rm", "--interactive", "--init", "--name", name, "--label", f"{LABEL}={name}"]
    words += ["--network", "bridge" if network else "none", "--user", f"{os.geteuid()}:{os.getegid()}"]
    words += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only", "--pull", "missing"]
    words += ["--memory", memory, "--memory-swap", memory, "--pids-limit", str(limits["processes"] + 1)]
    words += ["--ulimit", f"cpu={limits['cpu_seconds']}", "--ulimit", f"fsize={limits['disk_mb'] * 1024 * 1024}"]
    words += ["--ulimit", "core=0", "--workdir", folder]
    for path in writable:
        words += ["--mount", f"type=bind,source={path},target={path}"]
    for path in readable:
        words += ["--mount", f"type=bind,source={path},target={path},readonly"]
    # Only the names: values on a command line can be read by everybody on the machine.
    for variable in environment:
        words += ["--env", variable]
    return [*words, image, *program]


def removal_of(docker: str, name: str) -> list[str]:
    """The words that end a container and remove it."""
    return [docker, "rm", "--force", "--volumes", name]


def remove(name: str) -> None:
    """End a container and remove it, if it is there and Docker answers."""
    with suppress(NotIsolated, OSError, subprocess.SubprocessError):
        subprocess.run(removal_of(find_docker(), name), capture_output=True, timeout=_SECONDS, check=False)


def readable_of(paths: Sequence[str]) -> list[str]:
    """Those of the paths that are there, each once and none below another."""
    there = sorted({path for path in paths if Path(path).exists()})
    return [path for path in there if not any(path != other and path.startswith(f"{other}/") for other in there)]
