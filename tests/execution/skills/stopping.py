import asyncio

from muster.errors import PermanentError, TransientError
from muster.skills import skill
from support.bank import charge


@skill("shop.charge")
def charge_one(url: str, item: str) -> int:
    """Charges it."""
    return charge(url, item)


@skill("shop.acharge", lane="async")
async def acharge_one(url: str, item: str) -> int:
    """Charges it."""
    return await asyncio.to_thread(charge, url, item)


@skill("shop.fail")
def fail(url: str) -> int:
    """Charges it, and fails in a way that may pass."""
    charge(url, "x")
    raise TransientError("not yet")


@skill("shop.refuse")
def refuse(url: str) -> int:
    """Charges it, and fails for good."""
    charge(url, "x")
    raise PermanentError("never")


@skill("shop.late")
def late(url: str, item: str) -> int:
    """The same, for an item."""
    return fail(url)


@skill("shop.alate", lane="async")
async def alate(url: str, item: str) -> int:
    """The same, as a coroutine."""
    return await asyncio.to_thread(fail, url)
