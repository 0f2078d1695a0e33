import asyncio

from muster.errors import PermanentError
from muster.recovery.leases import Leases
from muster.skills import SkillContext, skill
from support.bank import charge


@skill("till.take", lane="async")
async def take(context: SkillContext) -> list[str]:
    """Takes from a till, and says who holds what meanwhile."""
    return held(context)


@skill("till.put_back", lane="async")
async def put_back(context: SkillContext) -> list[str]:
    """Puts it back, and says who holds what meanwhile."""
    return held(context)


@skill("till.pay")
def pay(url: str, context: SkillContext) -> None:
    """Takes ten."""
    with context.database.connection() as connection:
        connection.execute("UPDATE till SET amount = amount - 10")


@skill("till.apay", lane="async")
async def apay(url: str, context: SkillContext) -> None:
    """The same, as a coroutine."""
    async with context.database.aconnection() as connection:
        await connection.execute("UPDATE till SET amount = amount - 10")


@skill("till.unpay")
def unpay(url: str, context: SkillContext) -> None:
    """Puts ten back, after it has asked outside."""
    charge(url, "asked")
    with context.database.connection() as connection:
        connection.execute("UPDATE till SET amount = amount + 10")


@skill("till.aunpay", lane="async")
async def aunpay(url: str, context: SkillContext) -> None:
    """The same, as a coroutine."""
    await asyncio.to_thread(charge, url, "asked")
    async with context.database.aconnection() as connection:
        await connection.execute("UPDATE till SET amount = amount + 10")


@skill("till.fail", lane="async")
async def fail() -> None:
    """Fails."""
    raise PermanentError("broken")


def held(context: SkillContext) -> list[str]:
    return [f"{it.name} by {it.owner}" for it in Leases(context.database).held()]
