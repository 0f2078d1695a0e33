"""What keeps work whole when something breaks: leases, the ledger of outside effects, circuit breakers."""

from muster.recovery.effects import Once
from muster.recovery.ledger import (
    CANNOT_TELL,
    NEVER_HAPPENED,
    EffectConflict,
    Happened,
    NotPerformed,
    OutcomeUnknown,
    cannot_tell,
    repeatable,
)

__all__ = [
    "CANNOT_TELL",
    "NEVER_HAPPENED",
    "EffectConflict",
    "Happened",
    "NotPerformed",
    "Once",
    "OutcomeUnknown",
    "cannot_tell",
    "repeatable",
]
