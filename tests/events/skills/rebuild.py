from decimal import Decimal

from pydantic import BaseModel

from muster.errors import PermanentError, SetAside, TransientError
from muster.findings import Finding
from muster.skills import SkillContext, skill

tries = {}


class Paper(BaseModel):
    name: str
    net: Decimal


@skill("desk.read")
def read(name: str) -> Paper:
    """Read."""
    if name == "torn":
        raise SetAside("it is torn", [Finding(rule="T-1", message="torn")])
    return Paper(name=name, net=Decimal(len(name)) / 4)


@skill("desk.flaky")
def flaky(name: str, context: SkillContext) -> str:
    """Fails the first time."""
    tries[context.key] = tries.get(context.key, 0) + 1
    if tries[context.key] == 1:
        raise TransientError("not yet, ‹ärger›")
    return name


@skill("desk.refuse")
def refuse() -> str:
    """Refuses."""
    raise PermanentError("never")


@skill("desk.large")
def large() -> str:
    """More than an event holds."""
    return "ä" * 90_000
