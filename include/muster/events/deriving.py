"""What the rows of a run must be, derived from its events alone: for replay and for rebuilding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from muster.events.driver import Query
from muster.events.facts import Fact
from muster.events.projections import RUNS, STEPS, Change, Table, as_parameter, changes


class Derived:
    """The rows of some runs, as far as their events have been taken in."""

    def __init__(self) -> None:
        self.runs: dict[str, Change] = {}
        self.steps: dict[tuple[str, str, int], Change] = {}

    def add(self, stream: str, facts: Iterable[Fact]) -> None:
        """Take in the next events of a stream."""
        runs, steps = changes(stream, facts)
        for change in runs:
            self.runs[stream] = RUNS.merge(self.runs[stream], change) if stream in self.runs else change
        for change in steps:
            key = (stream, change["step"], change["index"])
            self.steps[key] = STEPS.merge(self.steps[key], change) if key in self.steps else change

    def writing(self) -> list[Query]:
        """Statements that write the rows where there are none."""
        return [
            Query(table.upsert("changes"), {"changes": as_parameter(rows)})
            for table, rows in ((RUNS, list(self.runs.values())), (STEPS, list(self.steps.values())))
            if rows
        ]


def full(table: Table, change: Mapping[str, Any]) -> dict[str, Any]:
    """A derived row with every column, as the table would hold it."""
    return {name: change.get(name, 0 if name in table.total else None) for name in table.columns}
