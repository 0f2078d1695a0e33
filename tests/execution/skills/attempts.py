import asyncio
import threading
import time

from muster.recovery import NEVER_HAPPENED
from muster.skills import SkillContext, skill
from support.bank import charge

released = threading.Event()
refused: list[str] = []


@skill("shop.slow", timeout=0.2)
def slow(url: str, seconds: float = 0.6) -> None:
    """Takes longer than it may."""
    charge(url, "in")
    time.sleep(seconds)
    charge(url, "out")


@skill("shop.aslow", lane="async", timeout=0.2)
def aslow(url: str, seconds: float = 0.6) -> None:
    """The same, in the other lane."""
    slow(url, seconds)


@skill("shop.patient")
def patient(url: str, seconds: float = 0.6) -> None:
    """The same, where the step says how long it may take."""
    slow(url, seconds)


@skill("shop.apatient", lane="async")
async def apatient(url: str, seconds: float = 0.6) -> None:
    """The same, as a coroutine."""
    await asyncio.to_thread(slow, url, seconds)


@skill("shop.hang", timeout=0.2)
def hang(url: str) -> None:
    """Comes to no end until it is released."""
    charge(url, "hang")
    released.wait(60)


@skill("shop.ahang", lane="async", timeout=0.2)
def ahang(url: str) -> None:
    """The same, in the other lane."""
    hang(url)


@skill("shop.undo")
def undo(url: str, context: SkillContext) -> None:
    """Takes back what was done."""
    charge(url, "undo")


@skill("shop.instead")
def instead(url: str) -> None:
    """A fallback."""
    charge(url, "instead")


def late(url: str, context: SkillContext) -> None:
    charge(url, "begun")
    released.wait(60)
    try:
        with context.database.connection() as connection:
            connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
    except Exception as error:
        refused.append(type(error).__name__)
    try:
        context.effect("pay", request={}).perform(lambda: charge(url, "effect"))
    except Exception as error:
        refused.append(type(error).__name__)
    charge(url, "ended")


@skill("shop.late", timeout=0.2)
def late_in_process(url: str, context: SkillContext) -> None:
    """Does what it does long after it was given up."""
    late(url, context)


@skill("shop.alate", lane="async", timeout=0.2)
def late_in_triggerer(url: str, context: SkillContext) -> None:
    """The same, in the other lane."""
    late(url, context)


@skill("shop.write")
def write(url: str, context: SkillContext) -> int:
    """Asks outside, and then writes into the database and does something outside."""
    charge(url, "asked")
    with context.database.connection() as connection:
        connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
    return context.effect("pay", request={}, find_out=lambda: NEVER_HAPPENED).perform(lambda: charge(url, "effect"))


@skill("shop.awrite", lane="async")
async def awrite(url: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    await asyncio.to_thread(charge, url, "asked")
    async with context.database.aconnection() as connection:
        await connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
    effect = context.effect("pay", request={}, find_out=lambda: NEVER_HAPPENED)
    return await effect.aperform(lambda: asyncio.to_thread(charge, url, "effect"))


@skill("shop.book")
def book(url: str, context: SkillContext) -> int:
    """Does something outside in the middle of a transaction, after a savepoint."""
    with context.database.connection() as connection:
        with connection.transaction():
            connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
        connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
        with connection.transaction():
            connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
        return context.effect("pay", request={}).perform(lambda: charge(url, "effect"))


@skill("shop.abook", lane="async")
async def abook(url: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    async with context.database.aconnection() as connection:
        async with connection.transaction():
            await connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
        await connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
        async with connection.transaction():
            await connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
        effect = context.effect("pay", request={})
        return await effect.aperform(lambda: asyncio.to_thread(charge, url, "effect"))
