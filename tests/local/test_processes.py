"""A kept process takes everything it started down with it, whoever dies first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from muster.local.processes import LOG_LIMIT, ManagedProcess, ProcessSpec
from support.waiting import eventually

FAMILY = """
import os, subprocess, sys, time
# A child, a grandchild, and one that left the session: the family of a task that runs a shell command.
nap = "import time; time.sleep(600)"
parent = "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
parent += "; print(p.pid, flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", parent, nap], stdout=subprocess.PIPE, text=True)
loner = subprocess.Popen([sys.executable, "-c", nap], start_new_session=True)
pids = [os.getpid(), child.pid, int(child.stdout.readline()), loner.pid]
with open(sys.argv[1] + ".new", "w") as file:
    file.write(" ".join(map(str, pids)))
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").write("ready")
time.sleep(600)
"""


def spec(folder: Path, *command: str, grace: float = 5.0, stop: signal.Signals = signal.SIGTERM) -> ProcessSpec:
    """A Python child."""
    return ProcessSpec(
        name="child",
        command=[sys.executable, *command],
        environment=dict(os.environ),
        log=folder / "child.log",
        grace=grace,
        stop=stop,
    )


def alive(pid: int) -> bool:
    """True for a process that is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@pytest.fixture
def family(tmp_path: Path) -> Iterator[tuple[ManagedProcess, list[int]]]:
    """A kept process with a child, a grandchild and one in a session of its own."""
    note = tmp_path / "pids"
    process = ManagedProcess(spec(tmp_path, "-c", FAMILY, str(note)))
    process.start()
    assert eventually(note.exists), (tmp_path / "child.log").read_text()
    pids = [int(pid) for pid in note.read_text().split()]
    assert len(pids) == 4
    assert all(alive(pid) for pid in pids)
    yield process, pids
    process.stop()


def test_stop_ends_children_grandchildren_and_those_that_left_the_session(
    family: tuple[ManagedProcess, list[int]],
) -> None:
    process, pids = family
    process.stop()
    assert not [pid for pid in pids if alive(pid)]


def test_a_command_that_dies_takes_what_it_started_with_it(family: tuple[ManagedProcess, list[int]]) -> None:
    process, pids = family
    os.kill(pids[0], signal.SIGKILL)
    assert eventually(lambda: process.poll() is not None)
    assert process.poll() == 128 + signal.SIGKILL
    assert not [pid for pid in pids if alive(pid)]


def test_a_killed_keeper_leaves_nothing_of_its_session_behind(family: tuple[ManagedProcess, list[int]]) -> None:
    process, pids = family
    os.kill(process.pid, signal.SIGKILL)
    assert eventually(lambda: process.poll() == -signal.SIGKILL)
    in_session = pids[:3]
    assert eventually(lambda: not [pid for pid in in_session if alive(pid)])
    # What left the session has nobody to find it once the keeper is gone.
    os.kill(pids[3], signal.SIGKILL)


def test_a_command_that_ignores_the_stop_signal_is_killed_after_its_grace(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = ManagedProcess(spec(tmp_path, "-c", STUBBORN, str(ready), grace=0.5))
    process.start()
    assert eventually(ready.exists)
    child = psutil.Process(process.pid).children()[0]
    process.stop()
    assert not child.is_running()


def test_the_exit_code_of_the_command_is_told(tmp_path: Path) -> None:
    process = ManagedProcess(spec(tmp_path, "-c", "import sys; print('bye'); sys.exit(7)"))
    process.start()
    assert eventually(lambda: process.poll() is not None)
    assert process.poll() == 7
    assert (tmp_path / "child.log").read_text() == "bye\n"


def test_when_the_starting_process_is_killed_the_whole_family_dies(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    starter = f"""
import os, signal, sys, time
from pathlib import Path
from muster.local.processes import ManagedProcess, ProcessSpec
ManagedProcess(ProcessSpec(name="child", command=[sys.executable, "-c", {FAMILY!r}, {str(note)!r}],
    environment=dict(os.environ), log=Path({str(tmp_path / "child.log")!r}))).start()
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", starter])
    assert eventually(note.exists)
    pids = [int(pid) for pid in note.read_text().split()]
    assert all(alive(pid) for pid in pids)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not [pid for pid in pids if alive(pid)])


def test_logs_are_readable_by_their_owner_only_and_a_large_one_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    with log.open("wb") as file:
        file.truncate(LOG_LIMIT + 1)
    process = ManagedProcess(spec(tmp_path, "-c", "print('fresh')"))
    process.start()
    assert eventually(lambda: process.poll() is not None)
    assert log.read_text() == "fresh\n"
    assert log.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "child.log.1").stat().st_size == LOG_LIMIT + 1
