from decimal import Decimal

from pydantic import BaseModel

from muster.errors import PermanentError, SetAside, TransientError
from muster.findings import Finding
from muster.skills import SkillContext, skill

calls: list[str] = []


class Amount(BaseModel):
    value: Decimal
    label: str = ""


@skill("shop.price")
def price(of: str) -> Amount:
    """A price."""
    if of == "broken":
        raise SetAside("it is broken", [Finding(rule="T-1", message="broken")])
    if of == "crash":
        raise RuntimeError("it crashed")
    return Amount(value=Decimal(len(of)) / 4, label=of)


@skill("shop.count")
def count(values: list[Decimal]) -> Decimal:
    """Adds up."""
    return sum(values, Decimal(0))


@skill("shop.flaky", lane="async")
async def flaky(fails: int, context: SkillContext) -> int:
    """Fails a number of times."""
    calls.append(context.key)
    if calls.count(context.key) <= fails:
        raise TransientError("not yet")
    return calls.count(context.key)


@skill("shop.refuse")
def refuse() -> str:
    """Refuses for good."""
    calls.append("refuse")
    raise PermanentError("never")


@skill("shop.slow", lane="async")
async def slow() -> str:
    """Takes long."""
    import asyncio

    await asyncio.sleep(30)
    return "late"


@skill("shop.unanswered")
def unanswered() -> str:
    """Asks somebody who does not answer."""
    raise TimeoutError("the bank did not answer")


@skill("shop.aunanswered", lane="async")
async def aunanswered() -> str:
    """The same, as a coroutine."""
    raise TimeoutError("the bank did not answer")


@skill("shop.echo")
def echo(value: str) -> str:
    """Says it again."""
    calls.append(value)
    return value
