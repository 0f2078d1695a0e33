from muster.errors import TransientError
from muster.skills import SkillContext, skill

asked: list[str] = []


@skill("shop.fetch")
def fetch(context: SkillContext) -> str:
    """Asks a host."""
    with context.guard("host:shop.example.com"):
        asked.append(context.key)
        raise TransientError("the host is down")


@skill("shop.guess")
def guess() -> str:
    """Does without."""
    return "guessed"
