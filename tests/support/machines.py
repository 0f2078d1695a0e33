"""Every machine that hypothesis plays against several real processes, by what it is about."""

from __future__ import annotations

from support.recovery_machines import AttemptsMachine, BreakersMachine, EffectsMachine, LeasesMachine, Machine
from support.saga_machine import SagaMachine

MACHINES: dict[str, type[Machine]] = {
    "leases": LeasesMachine,
    "attempts": AttemptsMachine,
    "effects": EffectsMachine,
    "breakers": BreakersMachine,
    "saga": SagaMachine,
}
