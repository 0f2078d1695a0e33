from muster.skills import SkillContext, skill

shipped: list[str] = []


@skill("bank.ship", lane="async")
async def ship(context: SkillContext) -> str:
    """Ships once."""

    async def do() -> str:
        shipped.append(context.key)
        return "shipped"

    return await context.effect("ship", request={}).aperform(do)
