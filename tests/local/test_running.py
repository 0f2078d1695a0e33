"""One stack for each project; nothing stale counts; a busy port is named."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from muster.errors import MusterError
from muster.local.project import Project
from muster.local.running import Lock, PortBusy, Running, check_port, find_running, note_path, stop_running, write_note
from muster.local.stack import Stack
from support.waiting import eventually

HOLDING = """
import os, signal, sys, time
from pathlib import Path
from muster.local.running import Lock, Running, write_note
state = Path(sys.argv[1])
lock = Lock(state)
if sys.argv[2:] == ["deaf"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
assert lock.take()
write_note(state, Running(os.getpid(), "http://localhost:1", "dsn", "here", True, "logs", {}))
time.sleep(600)
"""


def hold(state: Path, *words: str) -> subprocess.Popen[bytes]:
    """Another process that runs in this state folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDING, str(state), *words])
    assert eventually(lambda: find_running(state) is not None)
    return process


def test_nothing_runs_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert find_running(tmp_path / "nowhere") is None
    assert not stop_running(tmp_path / "nowhere")


def test_what_runs_is_found_and_a_killed_one_is_not(tmp_path: Path) -> None:
    process = hold(tmp_path)
    assert find_running(tmp_path).pid == process.pid
    assert not Lock(tmp_path).take()
    process.kill()
    process.wait()
    assert note_path(tmp_path).exists()
    assert find_running(tmp_path) is None
    assert Lock(tmp_path).take()


def test_another_command_that_looks_does_not_pass_for_what_runs(tmp_path: Path) -> None:
    write_note(tmp_path, Running(1, "", "", "", True, "", {}))
    with (tmp_path / "lock").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert find_running(tmp_path) is None


def test_a_stale_note_never_makes_us_signal_a_stranger(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        write_note(tmp_path, Running(stranger.pid, "", "", "", True, "", {}))
        assert not stop_running(tmp_path)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_stopping_waits_for_the_end(tmp_path: Path) -> None:
    process = hold(tmp_path)
    assert stop_running(tmp_path)
    assert process.wait(timeout=10) == -signal.SIGTERM
    assert find_running(tmp_path) is None


def test_what_does_not_end_is_said_with_its_process_id(tmp_path: Path) -> None:
    process = hold(tmp_path, "deaf")
    try:
        with pytest.raises(MusterError, match=f"process {process.pid}"):
            stop_running(tmp_path, patience=0.3)
    finally:
        process.kill()
        process.wait()


def test_the_note_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    write_note(tmp_path, Running(1, "", "postgresql://u:p@h/d", "", True, "", {}))
    assert note_path(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_busy_port_is_named_with_the_setting_that_changes_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortBusy, match=str(port)) as caught:
            check_port(port)
        assert "--port" in str(caught.value)
        assert "MUSTER_PORT" in str(caught.value)
    check_port(port)


def test_a_start_takes_away_what_a_killed_one_has_noted(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / ".muster")
    project.make_state()
    # A process that is somebody else's by now.
    write_note(project.state, Running(os.getpid(), "", "", "", True, "", {}))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        stack = Stack(tmp_path, port=other.getsockname()[1])
        with pytest.raises(PortBusy):
            stack.prepare()
    # Whoever looks while it starts would else end that process.
    assert not note_path(project.state).exists()
    stack.stop()
