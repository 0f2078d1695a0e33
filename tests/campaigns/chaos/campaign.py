"""Starts runs, breaks things, and waits until every run has ended."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from campaigns.chaos.faults import Fault, Strike, all_faults
from campaigns.chaos.plan import Planned, deck, plan
from campaigns.chaos.world import World
from muster.errors import MusterError

AT_ONCE = 16
"""Runs that are under way together."""
GAP = (1.0, 8.0)
"""Seconds between two faults, from when the first has been got over."""
PATIENT = 45.0
"""Seconds after which the next fault comes all the same."""
HASTY = 0.25
"""Chance that a fault does not wait for the one before to be got over."""
LEFT = 600.0
"""Seconds that runs get to end once nothing is broken any more."""
STILL = 420.0
"""Seconds after which runs that are left, and of which none ends, wait for the reconciler."""
LOOKS = 0.5
"""Seconds between two looks at what is asked; what is seen is answered at once."""
BROKEN_FOR = 2400.0
"""Seconds after which nothing more is broken or started, however many runs are left."""


class Active(NamedTuple):
    """A fault that goes on."""

    fault: Fault
    strike: Strike
    until: float


@dataclass
class Campaign:
    """One campaign as it goes on."""

    world: World
    runs: Sequence[Planned]
    random: Random
    say: Callable[[str], None]
    faults: Sequence[Fault] = field(default_factory=all_faults)
    strikes: list[Strike] = field(default_factory=list)
    impossible: dict[str, str] = field(default_factory=dict)
    """Why a kind of fault could not be done here."""
    started: list[Planned] = field(default_factory=list)
    at_once: int = AT_ONCE
    most: int | None = None
    """Faults at most; None: until the last run has ended."""
    broken_for: float = BROKEN_FOR
    _due: Fault | None = None
    _active: Active | None = None
    _next_strike: float = 0.0
    _hasty: bool = False
    _answered_at: float = 0.0
    _to_cancel: dict[str, float] = field(default_factory=dict)
    """When each run is to be cancelled."""
    _cancelling: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def play(self) -> None:
        """Start every run while things break; come back when all that were started have ended, or time is up, or
        nothing moves any more.
        """
        faults, began, said, moved = self._faults(), time.monotonic(), 0.0, (0, 0.0)
        self._next_strike = began + 5.0
        while (now := time.monotonic()) < began + self.broken_for + LEFT:
            ended, late = self.world.ended_runs(), now > began + self.broken_for
            if not late:
                self._start(ended)
            all_started = late or len(self.started) == len(self.runs)
            if len(ended) != moved[0]:
                moved = len(ended), now
            if all_started and now > moved[1] + STILL:
                self.say("None of the runs that are left ends any more.")
                done = True
            else:
                done = all_started and all(run.id in ended for run in self.started)
            self._break(faults, done or late)
            self._look()
            self._answer()
            self._cancel(ended)
            if done:
                return
            if now - said > 20:
                said = now
                self._progress(ended, now - began)
            time.sleep(0.5)
        self.say("Time is up.")

    def wait(self, what: str, look: Callable[[], bool], patience: float) -> bool:
        """Wait until something is so; False when it is not in time."""
        deadline = time.monotonic() + patience
        while not look():
            if time.monotonic() > deadline:
                self.say(f"Waited {patience:.0f} s for {what}.")
                return False
            self._look()
            self._answer()
            time.sleep(1.0)
        return True

    def recover(self, patience: float = 120.0) -> None:
        """Wait until everything that was broken works again."""

        def whole() -> bool:
            return all(self.world.stack.health().values())

        self.wait("Airflow to be well", whole, patience)

    def _faults(self) -> Iterator[Fault]:
        by_kind = {fault.kind: fault for fault in self.faults}
        for kind, fault in list(by_kind.items()):
            if (why := fault.impossible(self.world)) is not None:
                self.impossible[kind] = why
                self.say(f"NOT POSSIBLE HERE: {kind}: {why}")
                del by_kind[kind]
        return (by_kind[kind] for kind in deck(list(by_kind), self.random))

    def _is_ready(self) -> bool:
        """True when the next fault may come."""
        last = self.strikes[-1] if self.strikes else None
        if self.most is not None and len(self.strikes) >= self.most:
            return False
        return last is None or last.recovered is not None or self._hasty or time.monotonic() > last.began + PATIENT

    def _start(self, ended: dict[str, str]) -> None:
        under_way = sum(run.id not in ended for run in self.started)
        for run in self.runs[len(self.started) : len(self.started) + max(0, self.at_once - under_way)]:
            inputs = {"fails": run.fails, "stuck": run.stuck}
            try:
                self.world.client.trigger(run.automation, inputs, run_id=run.name)
            except MusterError:
                # Not there now; the id makes sure that a second attempt starts nothing twice.
                return
            self.started.append(run)
            if run.cancelled_after is not None:
                self._to_cancel[run.id] = time.monotonic() + run.cancelled_after

    def _break(self, faults: Iterator[Fault], enough: bool) -> None:
        """Begin the next fault or end the present one, when it is time."""
        now = time.monotonic()
        if self._active is None:
            if not enough and now >= self._next_strike and self._is_ready():
                self._due = self._due or next(faults)
                self._active = self._strike(self._due)
                # What finds nothing to break waits for it a while: a task's process lives for seconds.
                if self._active is not None or now > self._next_strike + PATIENT:
                    self._due = None
        elif enough or now >= self._active.until:
            self._active.fault.end(self.world)
            strike = self._active.strike
            strike.ended, strike.position = time.monotonic(), max(strike.position, self.world.last_position())
            self._active, self._next_strike = None, now + self.random.uniform(*GAP)
            self._hasty = self.random.random() < HASTY

    def _strike(self, fault: Fault) -> Active | None:
        """None when there was nothing to break."""
        lasts, position = self.random.uniform(*fault.seconds), self.world.last_position()
        strike = Strike(fault.kind, "", time.monotonic(), position=position)
        if (detail := fault.begin(self.world, self.random)) is None:
            return None
        strike.detail = detail
        self.strikes.append(strike)
        return Active(fault, strike, time.monotonic() + lasts)

    def _answer(self) -> None:
        """Approve what is asked the moment it is seen; whoever may not, or has already, is refused."""
        now = time.monotonic()
        if now < self._answered_at + LOOKS:
            return
        self._answered_at = now
        with suppress(MusterError):
            for asked in self.world.lead.approvals():
                if asked["task_instance"]["state"] != "awaiting_input":
                    continue
                for person in self.world.people:
                    with suppress(MusterError):
                        person.answer(asked["task_instance"], "Approve")

    def _cancel(self, ended: Mapping[str, str]) -> None:
        """Cancel what is due, by the command; again while that is refused and the run goes on."""
        for run, process in [*self._cancelling]:
            if (code := process.poll()) is not None:
                self._cancelling.remove((run, process))
                if code and run not in ended:
                    self._to_cancel[run] = time.monotonic() + LOOKS
        for run in [run for run, at in self._to_cancel.items() if time.monotonic() > at]:
            del self._to_cancel[run]
            if run not in ended:
                self._cancelling.append((run, self.world.begin_command("cancel", run)))

    def _look(self) -> None:
        """Note which faults have been got over."""
        kinds = {fault.kind: fault for fault in self.faults}
        for strike in self.strikes:
            if strike.recovered is None and kinds[strike.kind].is_mended(self.world, strike):
                strike.recovered = time.monotonic()

    def _progress(self, ended: dict[str, str], seconds: float) -> None:
        done = sum(run.id in ended for run in self.started)
        last = self.strikes[-1] if self.strikes else None
        recent = f"; last: {last.kind} ({last.detail})" if last else ""
        self.say(f"{seconds:5.0f} s  {done}/{len(self.runs)} ended, {len(self.strikes)} faults{recent}")


def campaign(world: World, runs: int, seed: int, minutes: int, say: Callable[[str], None]) -> Campaign:
    """The campaign that a seed stands for, and for how long things break in it at most."""
    planned = plan(runs, Random(f"runs {seed}"))
    return Campaign(world, planned, Random(f"faults {seed}"), say, broken_for=60.0 * minutes)
