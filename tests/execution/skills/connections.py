import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from muster.skills import SkillContext, skill
from support.bank import charge

released = threading.Event()
ends: list[str] = []


@skill("shop.book")
def book(url: str, context: SkillContext) -> int:
    """Does something outside in the middle of a transaction."""
    with context.database.connection() as connection:
        connection.execute("INSERT INTO done VALUES (%s)", (context.key,))
        return context.effect("pay", request={}).perform(lambda: charge(url, context.key))


@skill("shop.abook", lane="async")
async def abook(url: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    async with context.database.aconnection() as connection:
        await connection.execute("INSERT INTO done VALUES (%s)", (context.key,))
        return await context.effect("pay", request={}).aperform(lambda: asyncio.to_thread(charge, url, context.key))


@skill("shop.hold")
def hold(url: str, context: SkillContext) -> None:
    """Has a transaction for as long as the test wants."""
    try:
        with context.database.connection() as connection:
            connection.execute("INSERT INTO done VALUES (%s)", (context.key,))
            charge(url, "held")
            released.wait(60)
    except Exception as error:
        ends.append(type(error).__name__)
        raise


@skill("shop.ahold", lane="async")
async def ahold(url: str, context: SkillContext) -> None:
    """The same, as a coroutine, which keeps its turn as well when its time is over."""
    try:
        async with context.database.aconnection() as connection:
            await connection.execute("INSERT INTO done VALUES (%s)", (context.key,))
            released_or_late = asyncio.ensure_future(asyncio.to_thread(hold_on, url))
            try:
                await asyncio.shield(released_or_late)
            finally:
                await released_or_late
    except BaseException as error:
        ends.append(type(error).__name__)
        raise


def hold_on(url: str) -> None:
    charge(url, "held")
    released.wait(60)


@skill("shop.quick")
def quick(context: SkillContext) -> None:
    """An effect, without a transaction."""
    context.effect("quick", request={}).perform(lambda: None)


@skill("shop.within")
def within(url: str, context: SkillContext) -> None:
    """A transaction within another, and one in a thread that is waited for."""
    with context.database.connection() as outer, context.database.connection() as inner:
        outer.execute("INSERT INTO done VALUES (%s)", (context.key,))
        inner.execute("INSERT INTO done VALUES (%s)", (context.key,))
    with context.database.connection() as outer:
        outer.execute("INSERT INTO done VALUES (%s)", (context.key,))
        thread = threading.Thread(target=another, args=(context,))
        thread.start()
        thread.join()


def another(context: SkillContext) -> None:
    with context.database.connection() as connection:
        connection.execute("INSERT INTO done VALUES (%s)", (context.key,))


@skill("shop.deep")
def deep(context: SkillContext) -> None:
    """More transactions than there are connections, one of them in a thread that is waited for."""
    with context.database.connection(), context.database.connection(), ThreadPoolExecutor(1) as thread:
        thread.submit(another, context).result()


@skill("shop.third")
def third(context: SkillContext) -> None:
    """A third transaction within two."""
    with context.database.connection(), context.database.connection(), context.database.connection():
        pass


@skill("shop.athird", lane="async")
async def athird(context: SkillContext) -> None:
    """The same, as a coroutine."""
    database = context.database
    async with database.aconnection(), database.aconnection(), database.aconnection():
        pass
