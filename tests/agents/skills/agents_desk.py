"""Skills for tests."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from pydantic import BaseModel, Field

from muster.errors import PermanentError, TransientError
from muster.skills import SkillContext, skill


class Coding(BaseModel):
    cost_centre: str = Field(pattern=r"^[0-9]{4}$")
    amount: Decimal
    due: date


@skill("desk.find_order")
def find_order(number: str, context: SkillContext) -> dict[str, str]:
    """Find an order by its number."""
    with (context.workspace / "calls.txt").open("a") as file:
        file.write(f"{number} {context.key}\n")
    if number == "unknown":
        raise PermanentError("There is no order unknown.")
    if number == "later":
        raise TransientError("The order book is locked.")
    if number == "bug":
        raise ValueError("password=hunter2")
    return {"number": number, "total": "12.50"}


@skill("desk.wait", lane="async")
async def wait(seconds: float) -> str:
    """Wait."""
    import asyncio

    await asyncio.sleep(seconds)
    return "waited"


@skill("desk.code_by_history")
def code_by_history(amount: Decimal, ask: str = "") -> Coding:
    """Code an amount as it was coded before."""
    return Coding(cost_centre="4711", amount=amount, due=date(2026, 2, 1))


@skill("desk.secret")
def secret() -> str:
    """Never offered."""
    return "hidden"
