"""The tutorial, done whole as a newcomer does it: an empty folder, `muster up`, every file, command and answer."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from muster.local.client import AirflowClient, Unreachable
from muster.local.credentials import load_credentials
from muster.local.postgres import data_directory, free_port
from support.airflow import PATIENCE
from support.tutorial import Reader, Scene, missing, scenes

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

NAME = "order_supplies"


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with an empty folder; what they leave running is stopped, and its database removed."""
    tmp_path.chmod(0o755)
    reader = Reader(tmp_path, {"MUSTER_PORT": str(free_port())})
    yield reader
    subprocess.run([sys.executable, "-m", "muster.cli", "down"], cwd=reader.folder, check=False)
    state = reader.folder / ".muster"
    if state.is_dir():
        data = data_directory(state, load_credentials(state).identity)
        shutil.rmtree(data, ignore_errors=True)
        data.with_name(f"{data.name}.log").unlink(missing_ok=True)
        with suppress(OSError):
            data.parent.rmdir()


def test_the_tutorial_goes_as_it_says(newcomer: Reader) -> None:
    written: set[Path] = set()
    for scene in scenes():
        if scene.is_file:
            written.add(newcomer.write(scene))
            continue
        if "muster run " in scene.block.text:
            wait_until_published(newcomer, written)
        if "until" in scene.block.marks:
            type_until_shown(newcomer, scene)
            continue
        code, printed = newcomer.type(scene)
        assert bool(code) == ("fails" in scene.block.marks), f"{scene.block}: {printed}"
        assert missing(scene.shown, printed) == [], f"{scene.block}: {printed}"


def wait_until_published(newcomer: Reader, written: set[Path]) -> None:
    """Wait as the page tells the reader to: until Airflow has the automation as it stands in the files."""
    state = newcomer.folder / ".muster"
    url = f"http://127.0.0.1:{newcomer.variables['MUSTER_PORT']}"
    deadline = time.monotonic() + PATIENCE
    with AirflowClient(url, "admin", load_credentials(state).admin.password) as client:
        while not is_published(client, newcomer.folder, written):
            assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for Airflow to have {NAME}"
            time.sleep(0.5)


def is_published(client: AirflowClient, project: Path, written: set[Path]) -> bool:
    """True when the version of the Dag that Airflow has holds the files as they are."""
    try:
        version = (client.details(NAME) or {}).get("bundle_version")
    except Unreachable:
        return False
    [kept] = (project / ".muster" / "airflow" / "bundles").glob(f"muster/versions/{version}") if version else [None]
    return kept is not None and all(
        (kept / path.relative_to(project)).is_file()
        and (kept / path.relative_to(project)).read_bytes() == path.read_bytes()
        for path in written
    )


def type_until_shown(newcomer: Reader, scene: Scene) -> None:
    """Repeat a command until it prints what the page shows."""
    deadline = time.monotonic() + PATIENCE
    while missing(scene.shown, (answer := newcomer.type(scene))[1]):
        assert time.monotonic() < deadline, f"{scene.block}: {answer[1]}"
        time.sleep(1)
