from decimal import Decimal

from pydantic import BaseModel

from muster.skills import skill


class Sum(BaseModel):
    amount: Decimal


@skill("shop.total")
def total() -> Sum:
    """What is to be paid."""
    return Sum(amount=Decimal(3))
