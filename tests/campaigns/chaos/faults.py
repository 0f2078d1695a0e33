"""What is broken, how, and when it counts as mended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import psutil
import psycopg

if TYPE_CHECKING:
    from campaigns.chaos.world import World

CLOCK = Path(__file__).with_name("clock.c")
JOBS = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob", "dag-processor": "DagProcessorJob"}


@dataclass
class Strike:
    """One fault that was done."""

    kind: str
    detail: str
    began: float
    """On the monotonic clock."""
    at: float = field(default_factory=time.time)
    """When it began, by the clock."""
    ended: float | None = None
    """When the fault itself was over: at once for a kill."""
    position: int = 0
    """Where the log ended when the fault was over, or when PostgreSQL last answered before."""
    recovered: float | None = None

    @property
    def took(self) -> float | None:
        """Seconds from its beginning until the work went on; None when it never did."""
        return None if self.recovered is None else self.recovered - self.began


class Fault(ABC):
    """One kind of fault."""

    kind: str
    seconds: tuple[float, float] = (0.0, 0.0)
    """How long it lasts, from and to."""

    def impossible(self, world: World) -> str | None:
        """Why it cannot be done on this machine."""
        return None

    @abstractmethod
    def begin(self, world: World, random: Random) -> str | None:
        """Do it; what was done in a few words, None when there was nothing to break at this moment."""

    def end(self, world: World) -> None:  # noqa: B027
        """Take it back; a kill has nothing to take back."""

    def is_mended(self, world: World, strike: Strike) -> bool:
        """True once work goes on: by default when some work item has ended after the fault was over."""
        return strike.ended is not None and world.follower.has_gone_on(strike.position)


class Kill(Fault):
    """`kill -9` of one of Airflow's processes, alone or with everything it started."""

    def __init__(self, component: str) -> None:
        self.kind = f"kill {component}"
        self.component = component

    def begin(self, world: World, random: Random) -> str | None:
        main = world.main_process(self.component)
        if main is None:
            return None
        doomed = [main]
        if random.random() < 0.5:
            with contextlib.suppress(psutil.Error):
                doomed += main.children(recursive=True)
        for process in doomed:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        return "alone" if len(doomed) == 1 else f"with {len(doomed) - 1} children"

    def is_mended(self, world: World, strike: Strike) -> bool:
        if self.component == "api-server":
            return world.api_answers() and super().is_mended(world, strike)
        return world.has_new_job(JOBS[self.component], strike) and super().is_mended(world, strike)


class KillPostgres(Fault):
    """`kill -9` of PostgreSQL's first process; the others end when they notice."""

    kind = "kill postgres"

    def begin(self, world: World, random: Random) -> str | None:
        main = world.main_process("postgres")
        if main is None:
            return None
        doomed = [main, *(main.children(recursive=True) if random.random() < 0.5 else ())]
        for process in doomed:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        return "alone" if len(doomed) == 1 else f"with {len(doomed) - 1} backends"


class KillWorker(Fault):
    """`kill -9` of a process that performs a task, and of the one that watches over it."""

    kind = "kill worker"

    def begin(self, world: World, random: Random) -> str | None:
        tasks = world.task_processes()
        if not tasks:
            return None
        process = random.choice(tasks)
        both = random.random() < 0.5
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            process.send_signal(signal.SIGKILL)
            if both and parent is not None:
                parent.send_signal(signal.SIGKILL)
        return "task and its supervisor" if both else "task"


class DropConnections(Fault):
    """Every connection of a random part of all clients is ended by the server, in the middle of whatever it does."""

    kind = "drop connections"

    def begin(self, world: World, random: Random) -> str | None:
        share = random.choice((0.3, 1.0))
        with contextlib.suppress(psycopg.Error):
            return f"{world.terminate_backends(share)} ended by the server"
        return None


class CutConnections(Fault):
    """Muster's own connections are cut between it and the server, answers lost after the commit."""

    kind = "cut connections"
    seconds = (0.0, 8.0)

    def begin(self, world: World, random: Random) -> str | None:
        if random.random() < 0.5:
            world.proxy.lose_next_answer()
            return "one answer lost after the deed"
        return f"{world.proxy.cut()} cut, new ones refused"

    def end(self, world: World) -> None:
        world.proxy.mend()


class FullDisk(Fault):
    """A disk is full: the one that runs write their files to, or PostgreSQL's."""

    seconds = (5.0, 20.0)

    def __init__(self, disk: str) -> None:
        self.kind = f"full disk {disk}"
        self._disk = disk

    def impossible(self, world: World) -> str | None:
        return None if self._disk in world.disks else "no file system of its own can be mounted here (not root?)"

    def begin(self, world: World, random: Random) -> str | None:
        with contextlib.suppress(OSError), self._ballast(world).open("wb") as file:
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        return "not a byte left"

    def end(self, world: World) -> None:
        self._ballast(world).unlink(missing_ok=True)

    def _ballast(self, world: World) -> Path:
        return world.disks[self._disk] / "ballast"


class ClockJump(Fault):
    """One component's clock is wrong for a while."""

    kind = "clock jump"
    seconds = (5.0, 20.0)

    def __init__(self) -> None:
        self._component = ""

    def impossible(self, world: World) -> str | None:
        return None if world.clocks else "no C compiler (cc) to make a clock that can be set wrong"

    def begin(self, world: World, random: Random) -> str | None:
        self._component = random.choice(sorted(world.clocks))
        # A lease that is taken while PostgreSQL's clock is ahead, by who then dies, is held for as long as it was.
        largest = (5, 40, 120) if self._component == "postgres" else (5, 40, 300, 4000)
        jump = random.choice((-1, 1)) * random.choice(largest)
        set_clock(world.clocks[self._component], jump)
        return f"{self._component} {jump:+} s"

    def end(self, world: World) -> None:
        set_clock(world.clocks[self._component], 0)


class Model(Fault):
    """The model server answers with an error, with garbage, or not at all."""

    seconds = (5.0, 25.0)
    ANSWERS: Mapping[str, Mapping[str, object]] = {
        "500": {"status": 500},
        "429": {"status": 429, "headers": {"retry-after": "2"}},
        "garbage": {"garbage": "<html>Bad gateway</html>"},
        "nothing": {"hang": True},
    }

    def __init__(self, answer: str) -> None:
        self.kind = f"model {answer}"
        self._answer = self.ANSWERS[answer]

    def begin(self, world: World, random: Random) -> str | None:
        world.models.reset()
        world.models.always(self._answer)
        return "every call"

    def end(self, world: World) -> None:
        world.script_models()


def set_clock(path: Path, seconds: int) -> None:
    """Make a component's clock wrong by so many seconds; `clock.c` reads this file."""
    with path.open("r+b" if path.exists() else "wb") as file:
        file.write(struct.pack("=q", seconds))


def compiled_clock(folder: Path) -> Path | None:
    """`clock.c` as a library; None where there is no compiler or another system than Linux."""
    library = folder / "clock.so"
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(CLOCK), "-ldl"]
    if sys.platform != "linux" or shutil.which("cc") is None:
        return None
    return library if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


def mount(folder: Path, megabytes: int) -> Path | None:
    """A small file system of its own at `folder`; None where this account may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.name != "posix" or os.getuid() != 0:
        return None
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "muster-chaos", str(folder)]
    done = subprocess.run(command, capture_output=True, check=False)
    return folder if done.returncode == 0 else None


def all_faults() -> list[Fault]:
    """Every kind there is."""
    components = [Kill(name) for name in ("triggerer", "scheduler", "dag-processor", "api-server")]
    models = [Model(name) for name in Model.ANSWERS]
    return [
        KillWorker(),
        *components,
        KillPostgres(),
        DropConnections(),
        CutConnections(),
        FullDisk("artifacts"),
        FullDisk("database"),
        ClockJump(),
        *models,
    ]
