import os
from pathlib import Path

from muster.errors import PermanentError, TransientError
from muster.recovery import Happened
from muster.skills import SkillContext, skill
from support.bank import charge as post

DEAD = Path("PLACE/dead")


@skill("bank.charge")
def charge(amount: int, context: SkillContext, memo: str = "") -> int:
    """Charges."""
    return context.effect("charge", request={"amount": amount, "memo": memo}).perform(lambda: post("BANK", "7"))


def lost() -> int:
    post("BANK", "7")
    raise ConnectionError("the answer was lost")


@skill("bank.lose")
def lose(amount: int, context: SkillContext, memo: str = "") -> int:
    """Charges; nobody hears of it before the bank is asked."""
    request = {"amount": amount, "memo": memo}
    return context.effect("charge", request=request, find_out=lambda: Happened(1)).perform(lost)


@skill("bank.stumble")
def stumble(amount: int, context: SkillContext) -> int:
    """Charges, and stumbles after that, the first time."""
    receipt = charge(amount, context, "by the office")
    if not DEAD.exists():
        DEAD.touch()
        raise TransientError("The receipt cannot be read.")
    return receipt


@skill("bank.fail")
def fail(amount: int) -> int:
    """Charges nothing."""
    raise PermanentError("The bank is closed.")


@skill("bank.die")
def die(amount: int) -> int:
    """Its process dies, the first time."""
    if not DEAD.exists():
        DEAD.touch()
        os._exit(9)
    return amount
