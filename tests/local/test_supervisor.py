"""The supervisor restarts what crashes, says so, and stops all of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from muster.local.processes import ProcessSpec
from muster.local.supervisor import Supervisor
from support.waiting import eventually

Supervise = Callable[..., tuple[Supervisor, list[str]]]

COUNTING = """
import sys, time
with open(sys.argv[1], "a") as file:
    file.write("started\\n")
time.sleep(float(sys.argv[2]))
sys.exit(3)
"""


def counting(folder: Path, name: str, seconds: float) -> ProcessSpec:
    """A process that writes a line at each start and ends with code 3 after `seconds`."""
    return ProcessSpec(
        name=name,
        command=[sys.executable, "-c", COUNTING, str(folder / name), str(seconds)],
        environment=dict(os.environ),
        log=folder / f"{name}.log",
        grace=3.0,
    )


def starts(folder: Path, name: str) -> int:
    """How often a counting process was started."""
    path = folder / name
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Starts a supervisor, and stops it after the test."""
    made: list[Supervisor] = []

    def start(*specs: ProcessSpec, first_pause: float = 0.1, **more: Any) -> tuple[Supervisor, list[str]]:
        said: list[str] = []
        supervisor = Supervisor(specs, say=said.append, first_pause=first_pause, **more)
        made.append(supervisor)
        supervisor.start()
        return supervisor, said

    yield start
    for supervisor in made:
        supervisor.stop()


def test_a_crashed_process_is_started_again_and_people_are_told(supervise: Supervise, tmp_path: Path) -> None:
    supervisor, said = supervise(counting(tmp_path, "steady", 600), counting(tmp_path, "shaky", 0.05))
    assert eventually(lambda: starts(tmp_path, "shaky") >= 3)
    assert any("shaky ended with exit code 3" in text and "shaky.log" in text for text in said)
    assert "shaky was started again." in said
    assert starts(tmp_path, "steady") == 1
    assert supervisor.components["steady"].running


def test_a_killed_process_comes_back_and_the_signal_is_named(supervise: Supervise, tmp_path: Path) -> None:
    supervisor, said = supervise(counting(tmp_path, "steady", 600))
    assert eventually(lambda: starts(tmp_path, "steady") == 1)
    child = psutil.Process(supervisor.components["steady"].process.pid).children()[0]
    child.kill()
    assert eventually(lambda: starts(tmp_path, "steady") == 2)
    assert any("SIGKILL" in text for text in said)


def test_pauses_between_restarts_double(supervise: Supervise, tmp_path: Path) -> None:
    supervisor, said = supervise(counting(tmp_path, "shaky", 0), first_pause=0.4)
    assert eventually(lambda: supervisor.components["shaky"].crashes >= 3)
    pauses = [re.search(r"again in (\d+) s", text) for text in said if "starting it again" in text]
    assert [found.group(1) for found in pauses if found] == ["0", "1", "2"]  # 0.4, 0.8 and 1.6 s, rounded
    assert starts(tmp_path, "shaky") == 3


def test_a_process_without_a_sign_of_life_is_started_again_and_people_are_told(
    supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.local.supervisor.LOOK_INTERVAL", 0.05)
    silent = {"hung"}
    specs = [counting(tmp_path, name, 600) for name in ("hung", "well")]
    supervisor, said = supervise(*specs, silent=lambda: silent, patience=1.0)
    eventually(lambda: starts(tmp_path, "hung") == 1)
    os.kill(supervisor.components["hung"].process.pid or 0, signal.SIGSTOP)
    eventually(lambda: starts(tmp_path, "hung") == 2)
    silent.clear()
    assert said[0] == "hung has given no sign of life for 1 s and is ended."
    assert supervisor.components["hung"].restarts == 1
    assert starts(tmp_path, "well") == 1


def test_a_silence_that_ends_in_time_ends_no_process(
    supervise: Supervise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muster.local.supervisor.LOOK_INTERVAL", 0.05)
    looks: list[int] = []

    def now_and_then() -> list[str]:
        looks.append(1)
        return ["slow"] if len(looks) % 2 else []

    _, said = supervise(counting(tmp_path, "slow", 600), silent=now_and_then, patience=1.0)
    eventually(lambda: len(looks) > 60)
    assert (starts(tmp_path, "slow"), said) == (1, [])


def test_stop_ends_every_process_and_starts_none_again(supervise: Supervise, tmp_path: Path) -> None:
    supervisor, _ = supervise(*(counting(tmp_path, name, 600) for name in ("one", "two", "three")))
    assert eventually(lambda: all(starts(tmp_path, name) for name in ("one", "two", "three")))
    kept = [state.process.pid for state in supervisor.components.values()]
    family = [child for pid in kept for child in psutil.Process(pid).children(recursive=True)]
    assert len(family) == 3
    supervisor.stop()
    assert not [child for child in family if child.is_running()]
    assert [starts(tmp_path, name) for name in ("one", "two", "three")] == [1, 1, 1]


FAREWELL = """
import signal, sys, time
def leave(*_):
    time.sleep(0.3)
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, leave)
open(sys.argv[1] + sys.argv[2], "w").close()
time.sleep(600)
"""


def test_what_others_stand_on_is_stopped_after_them_and_the_first_one_last(
    supervise: Supervise, tmp_path: Path
) -> None:
    order = tmp_path / "order"
    names = {"database": True, "api": True, "scheduler": False, "triggerer": False}
    specs = [
        ProcessSpec(
            name=name,
            command=[sys.executable, "-c", FAREWELL, str(order), name],
            environment=dict(os.environ),
            log=tmp_path / f"{name}.log",
            foundation=foundation,
        )
        for name, foundation in names.items()
    ]
    supervisor, _ = supervise(*specs)
    assert eventually(lambda: all((tmp_path / f"order{name}").exists() for name in names))
    supervisor.stop()
    ended = order.read_text().split()
    assert set(ended[:2]) == {"scheduler", "triggerer"}
    assert ended[2:] == ["api", "database"]


SUPERVISING = """
import contextlib, os, sys, time
from pathlib import Path
from muster.cli.up import _signals_ignored, _signals_interrupt
from muster.local.processes import ProcessSpec
from muster.local.supervisor import Supervisor

folder = Path(sys.argv[1])
nap = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
specs = [ProcessSpec(name=name, command=[sys.executable, "-c", nap, str(folder / name)], environment=dict(os.environ),
                     log=folder / f"{name}.log", grace=3.0) for name in ("one", "two")]
supervisor = Supervisor(specs)
with _signals_interrupt():
    try:
        supervisor.start()
        time.sleep(600)
    except KeyboardInterrupt:
        pass
    finally:
        with _signals_ignored():
            supervisor.stop()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_whatever_ends_the_supervisor_ends_its_processes(tmp_path: Path, number: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-c", SUPERVISING, str(tmp_path)], start_new_session=True)
    notes = [tmp_path / name for name in ("one", "two")]
    assert eventually(lambda: all(note.exists() and note.read_text() for note in notes))
    children = [psutil.Process(int(note.read_text())) for note in notes]
    process.send_signal(number)
    process.wait(timeout=20)
    gone = eventually(lambda: not [child for child in children if child.is_running()])
    for child in children:
        if child.is_running():
            child.kill()
    assert gone
