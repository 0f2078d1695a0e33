from muster.skills import SkillContext, skill


@skill("till.change", lane="async")
async def change(amount: int, context: SkillContext) -> int:
    """Put an amount into the till, once."""
    async with context.database.aconnection() as connection:
        await connection.execute(
            "INSERT INTO till VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (context.key, context.run, amount)
        )
    return amount


@skill("till.give_back", lane="async")
async def give_back(context: SkillContext) -> None:
    """Take out what the undone work put in, once."""
    async with context.database.aconnection() as connection:
        await connection.execute(
            "INSERT INTO till SELECT %s, run, -amount FROM till WHERE key = %s ON CONFLICT DO NOTHING",
            (context.key, context.undoes),
        )


@skill("till.guess", lane="async")
async def guess(amount: int) -> int:
    """An agent's offline answer."""
    return amount
