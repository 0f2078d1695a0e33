"""The rows of a run, derived from its events alone: for replay and for rebuilding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.events.driver import Query
from muster.events.facts import Fact
from muster.events.projections import RUNS, STEPS, Change, Table, as_parameter, changes


class Derived:
    """The rows of one run, as far as its events have been taken in."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.version = 0
        """Of the last event taken in."""
        self.run: Change | None = None
        self.steps: dict[tuple[str, int], Change] = {}
        """By step and index."""

    def add(self, facts: Sequence[Fact]) -> None:
        """Take in the next events."""
        # Merged by the rules that the append's SQL follows, so it does not matter how many events come at a time.
        runs, steps = changes(self.stream, facts)
        for change in runs:
            self.run = change if self.run is None else RUNS.merge(self.run, change)
        for change in steps:
            key = (change["step"], change["index"])
            self.steps[key] = STEPS.merge(self.steps[key], change) if key in self.steps else change
        if facts:
            self.version = facts[-1].version


def writing(of: Sequence[Derived]) -> list[Query]:
    """Statements that write the rows of some runs, where there are none."""
    runs = [derived.run for derived in of if derived.run is not None]
    steps = [row for derived in of for row in derived.steps.values()]
    return [
        Query(table.upsert("changes"), {"changes": as_parameter(rows)})
        for table, rows in ((RUNS, runs), (STEPS, steps))
        if rows
    ]


def full(table: Table, change: Mapping[str, object]) -> dict[str, object]:
    """A derived row with every column, as the table would hold it."""
    return {name: change.get(name, 0 if name in table.numbers else None) for name in table.columns}
