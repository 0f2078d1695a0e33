"""Keeps a set of processes running: restarts what crashes or hangs, with growing pauses, and says so."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from muster.local.processes import ManagedProcess, ProcessSpec

LONGEST_PAUSE = 30.0
"""Seconds between two attempts to start something that keeps crashing, at most."""
STEADY = 60.0
"""A process that ran this many seconds is taken to be well: its next crash starts the pauses afresh."""
LOOK_INTERVAL = 5.0
"""Seconds between two looks for processes that hang."""


@dataclass
class ComponentState:
    """How one process is doing."""

    process: ManagedProcess
    started: float = 0.0
    """On the monotonic clock, in seconds."""
    crashes: int = 0
    """Crashes in a row, without a steady stretch between them."""
    restarts: int = 0
    """Restarts since the supervisor started."""
    last_code: int | None = None
    """Exit code of the last crash: below zero, or above 128, it was ended by a signal."""
    due: float | None = None
    """When to start again, on the monotonic clock; None while it runs."""
    silent_since: float | None = None
    """Since when it runs without a sign of life, on the monotonic clock."""

    @property
    def running(self) -> bool:
        """True while the process is up."""
        return self.due is None


@dataclass
class Supervisor:
    """Starts processes in order, watches them from a thread, stops all of them in reverse order."""

    specs: Sequence[ProcessSpec]
    say: Callable[[str], None] = lambda _: None
    """Told about each crash and restart, in one sentence."""
    first_pause: float = 1.0
    """Seconds before the first restart; doubles with each further crash."""
    silent: Callable[[], Collection[str]] = tuple
    """Names of the processes that show no sign of life at present; empty where nobody knows. May block for a while."""
    patience: float = 180.0
    """Seconds without a sign of life after which a process is killed, and so started again."""
    components: dict[str, ComponentState] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start every process and begin to watch them."""
        for spec in self.specs:
            self.add(ManagedProcess(spec))
        self.watch()

    def add(self, process: ManagedProcess) -> None:
        """Take over a process, starting it unless it runs."""
        state = ComponentState(process)
        if process.pid is None:
            process.start()
        state.started = time.monotonic()
        with self._lock:
            self.components[process.spec.name] = state

    def watch(self) -> None:
        """Begin to watch, once."""
        if not self._threads:
            # Two, because whoever is asked for signs of life may take seconds to answer.
            for number, work in enumerate((self._watch, self._end_silent)):
                thread = threading.Thread(target=work, name=f"muster-supervisor-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Stop everything: first all that stands on something, together; then each foundation, the last one first."""
        # The watching threads end first: they would take a process that was stopped for one that crashed, and start it
        # again.
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        processes = [state.process for state in self.components.values()]
        foundations = [process for process in processes if process.spec.foundation]
        others = [process for process in processes if not process.spec.foundation]
        # All are asked before one is waited for, so that their times of grace run side by side.
        for process in others:
            process.request_stop()
        for process in (*others, *reversed(foundations)):
            process.stop()

    def _watch(self) -> None:
        while not self._stopping.wait(0.2):
            with self._lock:
                # A copy, so that `add` does not wait while this thread ends and starts processes.
                states = list(self.components.values())
            for state in states:
                self._look_at(state)

    def _end_silent(self) -> None:
        while not self._stopping.wait(LOOK_INTERVAL):
            silent, now = self._asked(), time.monotonic()
            with self._lock:
                states = list(self.components.items())
            for name, state in states:
                if name not in silent or not state.running:
                    state.silent_since = None
                    continue
                since = state.silent_since = state.silent_since or now
                # Not right after its start: it needs a while until its first sign.
                if now - max(since, state.started) > self.patience:
                    state.silent_since = None
                    self._tell(f"{name} has given no sign of life for {self.patience:.0f} s and is ended.")
                    state.process.kill()

    def _tell(self, text: str) -> None:
        # Whoever watches must outlive a full disk; rich raises SystemExit where the reader of a pipe has gone.
        with contextlib.suppress(Exception, SystemExit):
            self.say(text)

    def _asked(self) -> Collection[str]:
        try:
            return self.silent()
        except Exception:
            return ()

    def _look_at(self, state: ComponentState) -> None:
        now = time.monotonic()
        if state.due is not None:
            if now >= state.due:
                self._restart(state, now)
            return
        code = state.process.poll()
        if code is not None:
            self._note_crash(state, code, now)

    def _restart(self, state: ComponentState, now: float) -> None:
        try:
            state.process.start()
        except OSError as error:
            # A full disk or process table may pass; the supervisor must outlive it.
            state.due = now + LONGEST_PAUSE
            self._tell(f"{state.process.spec.name} cannot start ({error}); trying again in {LONGEST_PAUSE:.0f} s.")
            return
        state.started, state.due = now, None
        state.restarts += 1
        self._tell(f"{state.process.spec.name} was started again.")

    def _note_crash(self, state: ComponentState, code: int, now: float) -> None:
        state.crashes = 1 if now - state.started > STEADY else state.crashes + 1
        pause = min(self.first_pause * 2 ** (state.crashes - 1), LONGEST_PAUSE)
        state.last_code, state.due = code, now + pause
        name, log = state.process.spec.name, state.process.spec.log
        self._tell(f"{name} ended with {_describe(code)}; starting it again in {pause:.0f} s. Its log is {log}.")


def _describe(code: int) -> str:
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(number).name}"
    return f"exit code {code}"
