import asyncio
import os
from pathlib import Path

from muster.errors import PermanentError
from muster.recovery import Happened
from muster.skills import SkillContext, skill
from support.bank import charge

FOLDER = Path("PLACE")


def lost(to: str) -> None:
    charge("BANK", to)
    raise ConnectionError("the answer was lost")


@skill("pay.transfer")
def transfer(to: str, context: SkillContext) -> None:
    """Charges; nobody hears of it."""
    context.effect("transfer", request={"to": to}).perform(lambda: lost(to))


@skill("pay.atransfer", lane="async")
async def atransfer(to: str, context: SkillContext) -> None:
    """The same, as a coroutine."""
    await context.effect("transfer", request={"to": to}).aperform(lambda: asyncio.to_thread(lost, to))


@skill("pay.bluntly")
def bluntly(to: str, context: SkillContext) -> None:
    """The same, in an error of its own that is about something else."""
    try:
        transfer(to, context)
    except Exception as error:
        raise PermanentError("There was no money left.") from error


@skill("pay.confused")
def confused(to: str, context: SkillContext) -> None:
    """Charges, and fails over something else."""
    context.effect("transfer", request={"to": to}).perform(lambda: charge("BANK", to))
    raise PermanentError("The receipt cannot be read.")


@skill("pay.aconfused", lane="async")
async def aconfused(to: str, context: SkillContext) -> None:
    """The same, as a coroutine."""
    await context.effect("transfer", request={"to": to}).aperform(lambda: asyncio.to_thread(charge, "BANK", to))
    raise PermanentError("The receipt cannot be read.")


@skill("pay.card")
def card(to: str, context: SkillContext) -> int:
    """A fallback."""
    return context.effect("card", request={"to": to}).perform(lambda: charge("BANK", to))


@skill("pay.acard", lane="async")
async def acard(to: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    return await context.effect("card", request={"to": to}).aperform(lambda: asyncio.to_thread(charge, "BANK", to))


def refuse(to: str) -> int:
    if not (FOLDER / "mended").exists():
        raise PermanentError("The account is closed.")
    return charge("BANK", to)


@skill("pay.refuse")
def refused(to: str, context: SkillContext) -> int:
    """Charges nothing, before somebody has mended it."""
    return context.effect("transfer", request={"to": to}).perform(lambda: refuse(to))


@skill("pay.arefuse", lane="async")
async def arefused(to: str, context: SkillContext) -> int:
    """The same, as a coroutine."""
    return await context.effect("transfer", request={"to": to}).aperform(lambda: asyncio.to_thread(refuse, to))


@skill("pay.decline")
def decline(to: str, context: SkillContext) -> int:
    """A fallback that charges nothing before it is accepted."""

    def asked() -> int:
        if not (FOLDER / "accepted").exists():
            raise PermanentError("The card was declined.")
        return charge("BANK", to)

    return context.effect("card", request={"to": to}).perform(asked)


@skill("pay.die")
def die(to: str, context: SkillContext) -> int:
    """A fallback whose process dies after it has charged, the first time."""
    card = context.effect("card", request={"to": to}, find_out=lambda: Happened(1))
    with card:
        if not card.happened:
            card.result = charge("BANK", to)
            if not (FOLDER / "mended").exists():
                (FOLDER / "mended").touch()
                os._exit(9)
    return 2
