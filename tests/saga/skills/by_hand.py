from muster.errors import PermanentError
from muster.skills import SkillContext, skill
from support.bank import charge


@skill("depot.act")
def act(url: str, context: SkillContext) -> str:
    """Does something, and writes that down."""
    charge(url, "done")
    with context.database.connection() as connection:
        connection.execute("INSERT INTO done VALUES (%s)", (context.run,))
    return context.step


@skill("depot.undo")
def undo(url: str) -> int:
    """Undoes it."""
    return charge(url, "undone")


@skill("depot.fail")
def fail() -> None:
    """Fails."""
    raise PermanentError("broken")
