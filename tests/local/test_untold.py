"""The supervisor goes on watching when nobody can be told, and when a look fails."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from muster.local.processes import ProcessSpec
from muster.local.supervisor import Supervisor
from support.waiting import eventually

COUNTING = "import sys, time; open(sys.argv[1], 'a').write('x'); time.sleep(float(sys.argv[2])); sys.exit(3)"


def supervised(folder: Path, seconds: float, **more: object) -> Supervisor:
    command = [sys.executable, "-c", COUNTING, str(folder / "starts"), str(seconds)]
    spec = ProcessSpec(name="one", command=command, environment=dict(os.environ), log=folder / "one.log", grace=3.0)
    return Supervisor([spec], first_pause=0.1, **more)  # type: ignore[arg-type]


def starts(folder: Path) -> int:
    path = folder / "starts"
    return len(path.read_text()) if path.exists() else 0


def full(text: str) -> None:
    raise OSError(28, "No space left on device")


def gone(text: str) -> None:
    raise SystemExit(1)  # As rich does where the reader of a pipe has gone.


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("say", [full, gone])
def test_what_crashes_is_started_again_also_where_nobody_can_be_told(tmp_path: Path, say: object) -> None:
    supervisor = supervised(tmp_path, 0.05, say=say)
    supervisor.start()
    try:
        assert eventually(lambda: starts(tmp_path) >= 3, 10.0)
    finally:
        supervisor.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("say", [full, gone])
def test_what_hangs_is_ended_also_where_nobody_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: object
) -> None:
    monkeypatch.setattr("muster.local.supervisor.LOOK_INTERVAL", 0.05)
    supervisor = supervised(tmp_path, 600, say=say, silent=lambda: {"one"}, patience=0.5)
    supervisor.start()
    try:
        assert eventually(lambda: starts(tmp_path) >= 2, 10.0)
    finally:
        supervisor.stop()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_look_that_fails_is_not_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.local.supervisor.LOOK_INTERVAL", 0.05)
    looks: list[int] = []

    def silent() -> set[str]:
        looks.append(1)
        if len(looks) == 1:
            raise OSError(24, "Too many open files")
        return {"one"}

    supervisor = supervised(tmp_path, 600, silent=silent, patience=0.5)
    supervisor.start()
    try:
        assert eventually(lambda: starts(tmp_path) >= 2, 10.0)
    finally:
        supervisor.stop()
