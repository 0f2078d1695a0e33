import asyncio
import os
from pathlib import Path

from muster.errors import PermanentError, TransientError
from muster.recovery import Happened
from muster.skills import SkillContext, skill
from support.bank import charge as post

MENDED = Path("PLACE/mended")


def pay(amount: int) -> int:
    post("BANK", str(amount))
    raise ERROR("the answer was lost")  # noqa: F821 - the test says which


@skill("bank.charge")
def charge(amount: int, memo: str, context: SkillContext) -> int:
    """Charges; nobody hears of it."""
    return context.effect("charge", request={"amount": amount, "memo": memo}).perform(lambda: pay(amount))


@skill("bank.acharge", lane="async")
async def acharge(amount: int, memo: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    effect = context.effect("charge", request={"amount": amount, "memo": memo})
    return await effect.aperform(lambda: asyncio.to_thread(pay, amount))


@skill("bank.swallow")
def swallow(amount: int, memo: str, context: SkillContext) -> str:
    """The same, and answers as if nothing had happened."""
    try:
        charge(amount, memo, context)
    except Exception:
        return "It did not work: try another memo."


@skill("bank.bluntly")
def bluntly(amount: int, memo: str, context: SkillContext) -> str:
    """The same, in an error of its own that is about something else."""
    try:
        charge(amount, memo, context)
    except Exception as error:
        raise PermanentError("The memo is too long.") from error


@skill("bank.asked")
def asked(amount: int, memo: str, context: SkillContext) -> int:
    """The same, where the bank can be asked."""
    request = {"amount": amount, "memo": memo}
    return context.effect("charge", request=request, find_out=lambda: Happened(1)).perform(lambda: pay(amount))


@skill("bank.aasked", lane="async")
async def aasked(amount: int, memo: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    request = {"amount": amount, "memo": memo}
    effect = context.effect("charge", request=request, find_out=lambda: Happened(1))
    return await effect.aperform(lambda: asyncio.to_thread(pay, amount))


def remember() -> Happened:
    if not MENDED.exists():
        raise TransientError("The bank does not answer.")
    return Happened(1)


@skill("bank.later")
def later(amount: int, memo: str, context: SkillContext) -> int:
    """The same, where the bank can be asked only later."""
    request = {"amount": amount, "memo": memo}
    return context.effect("charge", request=request, find_out=remember).perform(lambda: pay(amount))


@skill("bank.die")
def die() -> str:
    """Its process dies, the first time."""
    if MENDED.exists():
        MENDED.unlink()
        os._exit(9)
    return "It lives."
