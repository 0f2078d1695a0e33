import os
import time
from pathlib import Path

from muster.errors import TransientError
from muster.skills import SkillContext, skill

DEAD = Path("PLACE/dead")


def write(context: SkillContext, memo: str) -> None:
    with context.database.connection() as connection:
        connection.execute("INSERT INTO notes VALUES (%s, %s) ON CONFLICT DO NOTHING", (context.key, memo))


@skill("bank.note")
def note(memo: str, context: SkillContext) -> str:
    """Notes it, once for its key."""
    write(context, memo)
    return memo


@skill("bank.anote", lane="async")
async def anote(memo: str, context: SkillContext) -> str:
    """Notes it likewise."""
    async with context.database.aconnection() as connection:
        await connection.execute("INSERT INTO notes VALUES (%s, %s) ON CONFLICT DO NOTHING", (context.key, memo))
    return memo


@skill("bank.die")
def die(memo: str, context: SkillContext) -> str:
    """Notes it, and its process dies, the first time."""
    write(context, memo)
    if not DEAD.exists():
        DEAD.touch()
        os._exit(9)
    return memo


@skill("bank.break")
def break_(memo: str, context: SkillContext) -> str:
    """Notes it, and cannot say so."""
    write(context, memo)
    raise ValueError(memo)


@skill("bank.slow")
def slow(memo: str, context: SkillContext) -> str:
    """Notes it in the end."""
    time.sleep(2)
    write(context, memo)
    return memo


@skill("bank.undo")
def undo(memo: str, context: SkillContext) -> str:
    """Writes, and takes it back."""
    with context.database.connection() as connection:
        connection.execute("SELECT count(*) FROM notes")
    with context.database.connection() as connection:
        connection.execute("INSERT INTO notes VALUES (%s, %s)", (context.key, memo))
        connection.rollback()
    return memo


@skill("bank.stumble")
def stumble(context: SkillContext) -> str:
    """Notes it, and stumbles after that, the first time."""
    write(context, "by the office")
    if not DEAD.exists():
        DEAD.touch()
        raise TransientError("The receipt cannot be read.")
    return "noted"
