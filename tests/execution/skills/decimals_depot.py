from decimal import Decimal

from pydantic import BaseModel

from muster.skills import skill


class Bill(BaseModel):
    amount: Decimal


@skill("depot.read")
def read(amount: str) -> Bill:
    """Reads."""
    return Bill(amount=Decimal(amount))


@skill("depot.act")
def act() -> str:
    """Acts."""
    return "done"


@skill("depot.judge")
def judge(ask: str, value: float) -> dict[str, float]:
    """Judges."""
    return {"confidence": value}
