import asyncio
from pathlib import Path

from muster.errors import PermanentError, SetAside, TransientError
from muster.skills import SkillContext, skill
from support.bank import charge, charged

MENDED = Path(__file__).parents[1] / "mended"


@skill("shop.charge")
def charge_one(url: str, item: str, context: SkillContext) -> str:
    """Charges it; what is bad fails for good until it is mended, what is late the first time, what is odd is out."""
    name = f"{context.step}.{item}"
    charge(url, name)
    if item.startswith("bad") and not MENDED.exists():
        raise PermanentError(f"{item} is refused")
    if context.step == "charge" and item.startswith("late") and charged(url, name) == 1:
        raise TransientError("not yet")
    if item.startswith("odd") and not MENDED.exists():
        raise SetAside(f"{item} is odd", [])
    return item


@skill("shop.acharge", lane="async")
async def acharge_one(url: str, item: str, context: SkillContext) -> str:
    """The same, as a coroutine."""
    return await asyncio.to_thread(charge_one, url, item, context)


@skill("shop.refund")
def refund(url: str, item: str, context: SkillContext) -> None:
    """Gives it back."""
    charge(url, f"refund.{item}")


@skill("shop.count")
def count(url: str, items: list[str | None], context: SkillContext) -> int:
    """Counts what came through."""
    charge(url, "count")
    return sum(item is not None for item in items)
