import os
import time
from pathlib import Path

from muster.recovery import Happened
from muster.skills import SkillContext, skill
from support.bank import charge, charged

FOLDER = Path("PLACE")


def die_once() -> int:
    """Once everybody has come so far: what a model is being asked in that moment, nobody can know."""
    charge("BANK", "all")
    while not (FOLDER / "dead").exists():
        if charged("BANK", "all") >= int((FOLDER / "pieces").read_text()):
            (FOLDER / "dead").touch()
            os._exit(9)
        time.sleep(0.01)
    return 1


@skill("bank.greet")
def greet(amount: int) -> int:
    """Does nothing."""
    return amount


@skill("bank.look")
def look(amount: int) -> int:
    """Looks; its process dies, the first time."""
    return die_once()


@skill("bank.charge")
def charge_once(amount: int, context: SkillContext) -> int:
    """Charges; its process dies before anybody has heard of it."""
    return context.effect("charge", request={}, find_out=lambda: Happened(1)).perform(die_once)
