from muster.skills import SkillContext, skill

calls: list[str] = []
meanwhile: list = []


@skill("till.write", lane="async")
async def write(context: SkillContext) -> int:
    """Writes into the till, after what happens meanwhile."""
    calls.append("called")
    if meanwhile:
        await meanwhile.pop()()
    async with context.database.aconnection() as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS till (amount integer)")
        await connection.execute("INSERT INTO till VALUES (1)")
    return 1
