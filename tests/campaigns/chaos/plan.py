"""What a seed stands for: which runs are started, how they are meant to end, and which faults come in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

EFFECTS: dict[str, list[tuple[str, int | None]]] = {
    "chaos_order": [("book", None), ("pay", None)],
    "chaos_parcels": [
        *(("parcels", index) for index in range(3)),
        *(("labels", index) for index in range(6)),
        ("papers", None),
    ],
    "chaos_payment": [("pay", None)],
    "chaos_delivery": [("book", None), ("pack", None)],
}
"""What a run of each automation does outside, by step and item; `pack` in the run that chaos_delivery has asked for."""
OPTIONAL: set[tuple[str, int | None]] = {("advise", None)}
"""What an agent's tool does when its model asks for it: a model that answers nonsense may never come to it."""
CHILDREN = {"chaos_parcel"}
"""Automations that others have run."""
WEIGHTS = {"chaos_order": 4, "chaos_parcels": 3, "chaos_payment": 3, "chaos_delivery": 3}
FAILS, STUCK = 0.25, 0.3
"""The share of runs that are meant to fail, and of those the share that is meant to be stuck."""
CANCELLED, CANCELLED_AFTER = 0.1, (1.0, 20.0)
"""The share of the others that a person cancels on the way, and after how many seconds."""


@dataclass(frozen=True)
class Planned:
    """One run as it is meant."""

    automation: str
    name: str
    fails: bool
    stuck: bool
    cancelled_after: float | None = None
    """Seconds after its start at which a person cancels it."""

    @property
    def id(self) -> str:
        """The run's id in the log."""
        return f"{self.automation}/{self.name}"

    @property
    def effects(self) -> list[tuple[str, int | None]]:
        """What it does outside when it comes through."""
        return EFFECTS[self.automation]


def plan(runs: int, random: Random) -> list[Planned]:
    """The runs of a campaign in the order in which they are started."""
    made = []
    for number in range(1, runs + 1):
        (automation,) = random.choices(list(WEIGHTS), list(WEIGHTS.values()))
        fails = random.random() < FAILS
        stuck = random.random() < STUCK
        cancelled = random.uniform(*CANCELLED_AFTER) if random.random() < CANCELLED and not fails else None
        made.append(Planned(automation, f"run-{number:04}", fails, fails and stuck, cancelled))
    return made


def deck(kinds: Sequence[str], random: Random) -> Iterator[str]:
    """Faults without end: every kind once, shuffled, then again."""
    while True:
        yield from random.sample(kinds, len(kinds))
