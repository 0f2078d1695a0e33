"""What keeps work whole when something breaks: leases, the ledger of outside effects, circuit breakers."""

from muster.recovery.effects import IdempotentEffect
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
    "IdempotentEffect",
    "NotPerformed",
    "OutcomeUnknown",
    "cannot_tell",
    "repeatable",
]
