import asyncio

from muster.errors import PermanentError
from muster.skills import SkillContext, skill
from support.bank import charge


def lost() -> None:
    charge("BANK", "money")
    raise ConnectionError("the answer was lost")


@skill("shop.order")
def order(context: SkillContext) -> None:
    """Reserves, and pays; where that seems to fail it tries once more, and is told that nobody knows."""

    def both() -> None:
        charge("BANK", "stock")

        def pay() -> None:
            context.effect("pay", request={}).perform(lost)

        try:
            pay()
        except ConnectionError:
            pay()

    context.effect("order", request={}).perform(both)


@skill("shop.reworded")
def reworded(context: SkillContext) -> None:
    """The same, where it tries once more in other words."""

    def both() -> None:
        charge("BANK", "stock")
        try:
            context.effect("pay", request={}).perform(lost)
        except ConnectionError:
            context.effect("pay", request={"by": "card"}).perform(lost)

    context.effect("order", request={}).perform(both)


@skill("shop.aorder", lane="async")
async def aorder(context: SkillContext) -> None:
    """The same, as a coroutine."""

    async def alost() -> None:
        await asyncio.to_thread(lost)

    async def both() -> None:
        await asyncio.to_thread(charge, "BANK", "stock")

        async def pay() -> None:
            await context.effect("pay", request={}).aperform(alost)

        try:
            await pay()
        except ConnectionError:
            await pay()

    await context.effect("order", request={}).aperform(both)


@skill("shop.refused")
def refused(context: SkillContext) -> None:
    """What is a part of it is refused, so that nothing happened."""

    def refuse() -> None:
        raise PermanentError("The account is closed.")

    context.effect("order", request={}).perform(lambda: context.effect("pay", request={}).perform(refuse))
