"""A Docker engine to test on: the one there is, else one of our own, which ends with the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = {"dockerd": "docker.io", "docker": "docker.io", "iptables": "iptables"}
STAND_IN = "muster-test-base"
CERTIFICATES = Path("/usr/local/share/ca-certificates")
"""Where Debian keeps what an administrator added."""
POSTGRES_ENTRY = """\
#!/bin/sh
# Does for Debian's package what the entry point of PostgreSQL's image does.
set -e
data=/var/lib/postgresql/data
install -d -m 700 -o postgres -g postgres "$data"
install -d -o postgres -g postgres /var/run/postgresql
as_postgres="setpriv --reuid postgres --regid postgres --clear-groups"
if [ ! -s "$data/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  chown postgres /tmp/password
  $as_postgres initdb --pgdata "$data" --username postgres --pwfile /tmp/password $POSTGRES_INITDB_ARGS
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
fi
exec $as_postgres "$@" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
"""
DOCKERFILE = f"""\
FROM {STAND_IN} AS python
COPY certificates {CERTIFICATES}
RUN update-ca-certificates
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
FROM {STAND_IN} AS postgres
COPY entry /entry
ENV PATH=/usr/lib/postgresql/17/bin:/usr/bin:/bin
ENTRYPOINT ["/entry"]
"""
BASES = {"python:3.12-slim-bookworm": "python", "postgres:17": "postgres"}
"""The images that the project names, and the stage that stands in for each where none can be had."""


class NoEngine(Exception):
    """Why none can be had here."""


@contextmanager
def engine() -> Iterator[dict[str, str]]:
    """The environment in which `docker` and `docker compose` work.

    Raises:
        NoEngine: none is there, and none can be made.
    """
    with tempfile.TemporaryDirectory(prefix="muster-engine-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        variables = dict(os.environ)
        if shutil.which("docker") and not _docker(variables, "compose", "version"):
            variables["DOCKER_CONFIG"] = str(_with_compose(folder / "config"))
        if shutil.which("docker") and _works(variables):
            yield variables
            return
        _install(TOOLS)
        variables["DOCKER_CONFIG"] = str(_with_compose(folder / "config"))
        variables["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
        log = folder / "log"
        # It ends with this process, even when that is killed; asked to end, it stops its containers first.
        keeper = [sys.executable, "-P", "-m", "muster.local.keeper", "--parent", str(os.getpid())]
        command = [*keeper, *["--stop", "SIGTERM", "--grace", "30", "--", "dockerd", "--data-root"], f"{folder}/root"]
        command += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--host", variables["DOCKER_HOST"]]
        with log.open("w") as output:
            daemon = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            _wait(daemon, variables, log)
            yield variables
        finally:
            daemon.terminate()
            daemon.wait(60)


@contextmanager
def bases(variables: dict[str, str]) -> Iterator[None]:
    """See to it that the images which the project starts from are there, and work; those that we make go in the end.

    Raises:
        NoEngine: they cannot be had, or a container of theirs cannot reach the package index.
    """
    made = _missing(variables)
    try:
        _make(made, variables)
        probe = "python3 -m venv /tmp/v && /tmp/v/bin/pip download --quiet --no-deps --dest /tmp/d hatchling"
        if not _docker(variables, "run", "--rm", next(iter(BASES)), "sh", "-c", probe, timeout=300):
            raise NoEngine("containers do not start here, or cannot reach the package index")
        yield
    finally:
        # Somebody else's engine would take them for what their names say.
        if made:
            _docker(variables, "image", "rm", "--force", *made, STAND_IN)


def _missing(variables: dict[str, str]) -> list[str]:
    """The images that are neither there nor can be pulled."""
    missing = [name for name in BASES if not _docker(variables, "image", "inspect", name)]
    # One look tells whether a registry answers: Docker itself would try for minutes.
    if missing and _docker(variables, "pull", "--quiet", missing[0], timeout=120):
        return [name for name in missing[1:] if not _docker(variables, "pull", "--quiet", name, timeout=300)]
    return missing


def _make(images: list[str], variables: dict[str, str]) -> None:
    if not images:
        return
    print(f"no registry answers: making {' and '.join(images)} from Debian's packages", flush=True)
    _install({"mmdebstrap": "mmdebstrap"})
    with tempfile.TemporaryDirectory(prefix="muster-base-") as name:
        folder = Path(name)
        packages = "python3,python3-venv,ca-certificates,postgresql-17"
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={packages}"]
        command += ['--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io", "trixie", f"{folder}/base.tar"]
        _do(command, variables)
        _do(["docker", "import", f"{folder}/base.tar", STAND_IN], variables)
        (folder / "base.tar").unlink()
        (folder / "certificates").mkdir()
        for certificate in CERTIFICATES.glob("*.crt"):
            shutil.copy(certificate, folder / "certificates")
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "entry").write_text(POSTGRES_ENTRY)
        (folder / "entry").chmod(0o755)
        for image in images:
            _do(["docker", "build", "--quiet", "--target", BASES[image], "--tag", image, str(folder)], variables)


def _do(command: list[str], variables: dict[str, str]) -> None:
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        raise NoEngine(f"no image to start from can be pulled or made: {' '.join(command[:2])}: {said}")


def _with_compose(config: Path) -> Path:
    """A configuration of Docker's client that has Compose, as the development requirements bring it."""
    plugins = config / "cli-plugins"
    if not plugins.exists():
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(Path(sys.executable).parent / "docker-compose")
    return config


def _works(variables: dict[str, str]) -> bool:
    return _docker(variables, "info")


def _docker(variables: dict[str, str], *arguments: str, timeout: float = 60) -> bool:
    try:
        done = subprocess.run(
            ["docker", *arguments], env=variables, capture_output=True, check=False, timeout=timeout, text=True
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _install(tools: dict[str, str]) -> None:
    packages = sorted({package for tool, package in tools.items() if shutil.which(tool) is None})
    if os.getuid() != 0 or not Path("/etc/debian_version").exists():
        raise NoEngine("there is no Docker engine, and only root on Debian may install one")
    if not packages:
        return
    print(f"installing {' '.join(packages)}", flush=True)
    variables = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoEngine(f"{' '.join(packages)} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


def _wait(daemon: subprocess.Popen[bytes], variables: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not _works(variables):
        if daemon.poll() is not None or time.monotonic() > deadline:
            said = log.read_text().strip().splitlines()
            raise NoEngine(f"dockerd does not start here: {said[-1] if said else 'it says nothing'}")
        time.sleep(0.5)
