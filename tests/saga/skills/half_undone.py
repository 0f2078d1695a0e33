import asyncio
from pathlib import Path

from muster.errors import PermanentError
from muster.skills import SkillContext, skill
from support.bank import charge

MENDED = Path(__file__).parents[1] / "mended"


@skill("bank.pay")
def pay(url: str, context: SkillContext) -> int:
    """Pays."""
    return context.effect("pay", request={}).perform(lambda: charge(url, "pay"))


@skill("bank.refund")
def refund(url: str, context: SkillContext) -> int:
    """Refunds, and tells the books."""
    context.effect("refund", request={}).perform(lambda: charge(url, "refund"))
    charge(url, "told")
    if not MENDED.exists():
        raise PermanentError("the books are closed")
    return 1


@skill("bank.arefund", lane="async")
async def arefund(url: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    await context.effect("refund", request={}).aperform(lambda: asyncio.to_thread(charge, url, "refund"))
    await asyncio.to_thread(charge, url, "told")
    if not MENDED.exists():
        raise PermanentError("the books are closed")
    return 1


@skill("bank.work")
def work() -> str:
    """Works once it is mended."""
    if not MENDED.exists():
        raise PermanentError("broken")
    return "worked"
