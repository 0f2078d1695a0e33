"""Skills of chains in the triggerer; a server outside counts what they do."""

from __future__ import annotations

import asyncio

from muster.errors import PermanentError
from muster.recovery import NEVER_HAPPENED, Happened
from muster.recovery.ledger import EffectResult
from muster.skills import SkillContext, skill
from support.bank import charge, charged


@skill("chain.mark", lane="async")
async def mark(url: str, name: str, seconds: float = 0) -> str:
    """Have an effect, and take a while."""
    await asyncio.to_thread(charge, url, name)
    await asyncio.sleep(seconds)
    return name


@skill("chain.late", lane="async")
async def late(url: str, name: str, seconds: float) -> str:
    """Have an effect, take a while, have another."""
    await asyncio.to_thread(charge, url, f"{name}_begun")
    await asyncio.sleep(seconds)
    await asyncio.to_thread(charge, url, name)
    return name


@skill("chain.undo", lane="async")
async def undo(url: str, name: str) -> None:
    """Take it back."""
    await asyncio.to_thread(charge, url, f"{name}_undone")


@skill("chain.once", lane="async")
async def once(url: str, name: str, context: SkillContext, seconds: float = 0) -> str:
    """The same, through the ledger."""

    def find_out() -> Happened | EffectResult:
        times = charged(url, name)
        return Happened(times) if times else NEVER_HAPPENED

    effect = context.effect("mark", request={"name": name}, find_out=find_out)
    await asyncio.to_thread(effect.perform, lambda: charge(url, name))
    await asyncio.sleep(seconds)
    return name


@skill("chain.fail", lane="async")
async def fail(url: str, name: str) -> str:
    """Have an effect, and fail for good."""
    await asyncio.to_thread(charge, url, name)
    raise PermanentError("It is broken.", remedy="Mend it.")


@skill("chain.held")
def held(url: str, name: str) -> str:
    """The same in a task process."""
    charge(url, name)
    return name
