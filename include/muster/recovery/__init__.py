"""What keeps work whole when something breaks: leases, the ledger of outside effects, circuit breakers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.faces import face

if TYPE_CHECKING:
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

__getattr__ = face(
    __name__,
    {
        "CANNOT_TELL": "ledger",
        "EffectConflict": "ledger",
        "Happened": "ledger",
        "IdempotentEffect": "effects",
        "NEVER_HAPPENED": "ledger",
        "NotPerformed": "ledger",
        "OutcomeUnknown": "ledger",
        "cannot_tell": "ledger",
        "repeatable": "ledger",
    },
)
