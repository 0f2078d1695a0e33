"""A world in which things are done and undone, each as its mood is."""

from muster.errors import PermanentError, TransientError
from muster.recovery import NEVER_HAPPENED, Happened
from muster.rehearsal.faults import Crash
from muster.skills import SkillContext, skill


@skill("world.act", lane="async")
async def act(context: SkillContext, item: str | None = None) -> str:
    """Does something."""
    return await deed(context, "act", context.key)


@skill("world.undo", lane="async")
async def undo(context: SkillContext) -> str:
    """Undoes it."""
    return await deed(context, "undo", context.undoes)


async def deed(context: SkillContext, what: str, key: str | None) -> str:
    work_item = context.step + ("" if context.index is None else f"[{context.index}]")
    mood = await say(
        context,
        "DELETE FROM moods WHERE run = %s AND piece = %s AND mood IN ('flaky', 'dies') RETURNING mood",
        context.run,
        f"{what} {work_item}",
    )
    mood = mood or await say(
        context, "SELECT mood FROM moods WHERE run = %s AND piece = %s", context.run, f"{what} {work_item}"
    )
    if mood == "broken":
        raise PermanentError(f"{what} {work_item} is broken")
    if mood == "flaky":
        raise TransientError("not yet")

    async def happened() -> object:
        found = await say(context, "SELECT 1 FROM deeds WHERE what = %s AND key = %s LIMIT 1", what, key)
        return Happened(what) if found else NEVER_HAPPENED

    async with context.effect(what, request=work_item, find_out=happened) as effect:
        if not effect.happened:
            await say(
                context, "INSERT INTO deeds (run, what, key) VALUES (%s, %s, %s) RETURNING 1", context.run, what, key
            )
            if mood == "dies":
                raise Crash
            effect.result = what
    if mood == "lost":
        raise PermanentError("it was done, and nobody was told")
    return effect.result


async def say(context: SkillContext, statement: str, *values: object) -> str | None:
    async with context.database.aconnection() as connection:
        row = await (await connection.execute(statement, values)).fetchone()
    return row[0] if row else None
