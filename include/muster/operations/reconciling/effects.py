"""Effects in doubt: begun, with an unknown outcome."""

from __future__ import annotations

from collections.abc import Iterator

from muster.operations.reconciling.findings import LIMIT, Discrepancy, Scope
from muster.recovery.ledger import Ledger

NOTICE = "notice/"
"""How the keys of notices begin: the outbox answers for them."""


def find_effects(scope: Scope) -> Iterator[Discrepancy]:
    """Effects in doubt, each with what resolves it.

    Only the skill can ask what became of its effect, and does so when its step is performed again. That may still
    happen while the run is open; afterwards a person has to find out.
    """
    for entry in Ledger(scope.database).entries(in_doubt=True, limit=LIMIT):
        if entry.key.startswith(NOTICE) or entry.begun_at > scope.before:
            continue
        row = scope.queries.run_of(entry.run) if entry.run is not None else None
        going_on = row is not None and row.status == "open"
        message = f"nobody knows whether this {entry.kind} happened"
        remedy = (
            "Its step asks when it is tried again."
            if going_on
            else f'Find out, then `muster effects settle "{entry.key}" --happened` or `--never-happened`.'
        )
        yield Discrepancy(
            "effect", entry.key, message, remedy, run=entry.run, person=not going_on, mark=str(entry.attempt)
        )
