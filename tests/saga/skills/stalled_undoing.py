import asyncio

from muster.errors import PermanentError
from muster.recovery import NEVER_HAPPENED
from muster.skills import SkillContext, skill
from support.bank import charge


@skill("till.take")
def take(context: SkillContext) -> None:
    """Takes ten out of the till."""
    with context.database.connection() as connection:
        connection.execute("UPDATE till SET amount = amount - 10")


@skill("till.put")
def put(url: str, context: SkillContext) -> int:
    """Asks outside, puts ten back, and tells outside."""
    charge(url, "asked")
    with context.database.connection() as connection:
        connection.execute("UPDATE till SET amount = amount + 10")
    return context.effect("refund", request={}, find_out=lambda: NEVER_HAPPENED).perform(lambda: charge(url, "refund"))


@skill("till.aput", lane="async")
async def aput(url: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    await asyncio.to_thread(charge, url, "asked")
    async with context.database.aconnection() as connection:
        await connection.execute("UPDATE till SET amount = amount + 10")
    effect = context.effect("refund", request={}, find_out=lambda: NEVER_HAPPENED)
    return await effect.aperform(lambda: asyncio.to_thread(charge, url, "refund"))


@skill("till.refuse")
def refuse(url: str, context: SkillContext) -> None:
    """Asks outside, and fails for good when it was asked for the first time."""
    with context.database.connection() as connection:
        row = connection.execute("INSERT INTO asked VALUES (%s) ON CONFLICT DO NOTHING", (context.index or 0,))
    if row.rowcount:
        charge(url, "asked")
        raise PermanentError("It cannot be put back.")


@skill("till.fail")
def fail() -> None:
    """Fails."""
    raise PermanentError("broken")
