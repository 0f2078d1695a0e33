"""Starts runs, breaks things, and waits until every run has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from campaigns.chaos.faults import Fault, Strike, all_faults, struck
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
BROKEN_FOR = 2400.0
"""Seconds after which nothing more is broken, however many runs are left."""


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
    _hasty: bool = False

    def play(self) -> None:
        """Start every run while things break; come back when all have ended or time is up."""
        faults = self._faults()
        began, next_strike, active = time.monotonic(), time.monotonic() + 5.0, None
        deadline, said = began + BROKEN_FOR + LEFT, 0.0
        while time.monotonic() < deadline:
            ended = self.world.ended_runs()
            self._start(ended)
            done = len(self.started) == len(self.runs) and all(run.id in ended for run in self.runs)
            over = done or time.monotonic() > began + BROKEN_FOR
            if active is None and not over and time.monotonic() >= next_strike and self._ready():
                active = self._strike(faults)
            if active is not None and (over or time.monotonic() >= active[2]):
                self._end(*active[:2])
                active, next_strike = None, time.monotonic() + self.random.uniform(*GAP)
                self._hasty = self.random.random() < HASTY
            self._look()
            if over and active is None and all(run.id in ended for run in self.started):
                return
            if time.monotonic() - said > 20:
                said = time.monotonic()
                self._progress(ended, said - began)
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

    def _ready(self) -> bool:
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

    def _strike(self, faults: Iterator[Fault]) -> tuple[Fault, Strike, float] | None:
        fault = next(faults)
        lasts = self.random.uniform(*fault.seconds)
        strike = struck(fault, "")
        detail = fault.begin(self.world, self.random)
        if detail is None:
            return None
        strike.detail = detail
        self.strikes.append(strike)
        return fault, strike, time.monotonic() + lasts

    def _end(self, fault: Fault, strike: Strike) -> None:
        fault.end(self.world)
        strike.ended = time.monotonic()

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


def campaign(world: World, runs: int, seed: int, say: Callable[[str], None]) -> Campaign:
    """The campaign that a seed stands for."""
    return Campaign(world, plan(runs, Random(f"runs {seed}")), Random(f"faults {seed}"), say)
