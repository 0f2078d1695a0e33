"""What a row of the blackboard says: opened for those whose run is about the same person."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muster.coordination.blackboard.model import Entry
from muster.coordination.merging import ABSENT
from muster.events.sealing import Seals, is_marker, is_sealed, open_all


@dataclass(frozen=True)
class Reader:
    """Seals what is written in a run, and opens what was written in it or about the same person."""

    seals: Seals | None

    def seal(self, value: object) -> object:
        """`value` as it is stored."""
        return value if self.seals is None else self.seals.seal(value)

    def entry(self, row: Sequence[Any]) -> Entry:
        """A row of `statements.COLUMNS`."""
        value = None if row[2] is None else json.loads(row[2])
        if self.seals is not None:
            # Bound to the run that has written it, which on the board of a goal can be another one.
            value = open_all(value, {self.seals.subject: self.seals.key}, row[4])
        is_readable = not (is_sealed(value) or is_marker(value))
        return Entry(
            key=row[0],
            version=row[1],
            value=value if is_readable else None,
            kind=row[3],
            run=row[4],
            writer=row[5],
            base=row[6],
            causation=row[7],
            written_at=row[8],
            is_there=row[2] is not None,
            is_readable=is_readable,
            rests_on_withdrawn=row[9],
            withdrawn_at=row[10],
            withdrawn_because=row[11],
        )


def value_of(entry: Entry | None) -> object:
    """What a merge is given for an entry: `ABSENT` where there is nothing to look at."""
    return entry.value if entry is not None and entry.can_be_shown else ABSENT
