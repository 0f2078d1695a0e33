import asyncio

import psycopg

from muster.errors import PermanentError, SetAside, TransientError
from muster.skills import SkillContext, skill

inside: dict[str, int] = {}
seen: list[tuple[str, int, list[str]]] = []


@skill("store.alone", lane="async")
async def alone(account: str, context: SkillContext) -> str:
    """Notes how many work on the account at once, and under which leases."""
    inside[account] = inside.get(account, 0) + 1
    await asyncio.sleep(0.02)
    with context.database.connection() as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM leases WHERE owner IS NOT NULL ORDER BY 1")]
    seen.append((account, inside[account], names))
    inside[account] -= 1
    return account


@skill("store.robbed", lane="async")
async def robbed(times: int, context: SkillContext, fails: bool = False) -> int:
    """Loses its lease a number of times; it may fail over something else, and does not notice."""
    seen.append(("robbed", 1, []))
    if len(seen) <= times:
        if fails:
            with psycopg.connect(context.database.dsn) as outside:
                outside.execute("UPDATE leases SET expires_at = clock_timestamp()")
            raise PermanentError("the account is closed")
        with context.database.connection() as connection:
            connection.execute("UPDATE leases SET expires_at = clock_timestamp()")
    return len(seen)


@skill("store.unlucky", lane="async")
async def unlucky(account: str, context: SkillContext) -> int:
    """Loses its lease, fails once by itself, and comes through."""
    seen.append((account, 1, []))
    count = sum(name == account for name, _, _ in seen)
    if count == 1:
        with context.database.connection() as connection:
            connection.execute("UPDATE leases SET expires_at = clock_timestamp()")
    if count == 2:
        raise TransientError("not now")
    return count


@skill("store.ends", lane="async")
async def ends(how: str, context: SkillContext) -> str:
    """Ends as it is told."""
    if how == "aside":
        raise SetAside("odd", [])
    if how == "transient":
        raise TransientError("not now")
    if how == "outside":
        await context.effect("post", request={}).aperform(lambda: asyncio.sleep(0, "posted"))
    if how != "well":
        raise PermanentError("no")
    return how
