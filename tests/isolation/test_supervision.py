"""What watches over a program: as root and as another user, with namespaces and without them."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from muster.isolation.machine import machine
from support.programs import ancestors, processes_with
from support.waiting import eventually

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "support" / "supervised.py"
HIDES = """
# {mark}
import os, time
for _ in range(3):
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.setsid(); time.sleep(600)
        os._exit(0)
print("begun", flush=True)
{then}
"""
FORKS = """
# {mark}
import os, time
print("begun", flush=True)
for _ in range(200):
    try:
        if not os.fork():
            os.setsid(); time.sleep(600)
    except OSError:
        time.sleep(0.01)
time.sleep(600)
"""


def users() -> list[str | None]:
    """Who runs the tests, and nobody in particular where that can be had."""
    return [None, "nobody"] if os.geteuid() == 0 else [None]


WAYS = [
    pytest.param(user, way, id=f"{user or 'me'}-{way}")
    for user in users()
    for way in ("namespaces", "no-namespaces")
    # Muster starts no program so as root: see `Machine.ensure_holds`.
    if not (way == "namespaces" and not machine().namespaces)
]


@pytest.fixture
def folder() -> Iterator[str]:
    """A folder that every user reaches."""
    path = tempfile.mkdtemp(prefix="muster-supervision-")
    Path(path).chmod(0o777)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@cache
def python_of(user: str | None) -> str:
    """A Python that a user may run, and that knows Muster."""
    if user is None:
        return sys.executable
    system = "/usr/bin/python3"
    if not Path(system).exists() or subprocess.run([system, "-V"], capture_output=True, text=True).stdout[7:] < "3.11":
        pytest.skip("there is no Python that another user may run")
    folder = Path(tempfile.mkdtemp(prefix="muster-python-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    subprocess.run([system, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    [packages] = (folder / "venv").glob("lib/python3*/site-packages")
    (packages / "muster.pth").write_text(str(ROOT / "include"))
    return str(folder / "venv" / "bin" / "python3")


def supervised(folder: str, way: str, source: str, user: str | None, **limits: int) -> subprocess.Popen[str]:
    """The process that wants the program."""
    as_user: dict[str, Any] = {} if user is None else {"user": user, "group": "nogroup", "extra_groups": []}
    return subprocess.Popen(
        [python_of(user), str(SCRIPT), folder, way, source, json.dumps(limits)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        **as_user,
    )


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it printed at its end."""
    out, err = process.communicate(timeout=60)
    assert not process.returncode, err
    said = json.loads(out.splitlines()[-1])
    assert isinstance(said, dict), out
    return said


@pytest.mark.parametrize(("user", "way"), WAYS)
def test_nothing_is_left_of_a_program_that_hides_its_children(user: str | None, way: str, folder: str) -> None:
    mark = f"hides {os.getpid()} {user} {way}"
    said = ended(supervised(folder, way, HIDES.format(mark=mark, then=""), user))
    assert (said["code"], said["limit"]) == (0, None)
    assert not processes_with(mark)


@pytest.mark.parametrize(("user", "way"), WAYS)
def test_a_program_that_forks_without_end_is_ended(user: str | None, way: str, folder: str) -> None:
    mark = f"forks {os.getpid()} {user} {way}"
    said = ended(supervised(folder, way, FORKS.format(mark=mark), user, seconds=20))
    assert said["limit"] == "processes"
    assert not processes_with(mark)
    if user and way == "namespaces":
        assert said["processes"] <= 24, "the system itself refuses more"


@pytest.mark.parametrize(("user", "way"), WAYS)
def test_it_ends_when_the_process_that_wants_it_is_killed(user: str | None, way: str, folder: str) -> None:
    mark = f"orphan {os.getpid()} {user} {way}"
    process = supervised(folder, way, HIDES.format(mark=mark, then="time.sleep(600)"), user)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert processes_with(mark)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert eventually(lambda: not processes_with(mark))


@pytest.mark.parametrize("which", ["supervisor", "launcher"])
@pytest.mark.parametrize(("user", "way"), WAYS)
def test_it_ends_when_what_watches_over_it_is_killed(user: str | None, way: str, which: str, folder: str) -> None:
    mark = f"watched {os.getpid()} {user} {way} {which}"
    process = supervised(folder, way, HIDES.format(mark=mark, then="time.sleep(600)"), user)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    watching = [pid for pid in processes_with(f"muster.isolation.{which}") if process.pid in ancestors(pid)]
    assert watching
    for pid in watching:
        os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert not processes_with(mark)
