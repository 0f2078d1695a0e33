from muster.errors import PermanentError
from muster.skills import SkillContext, skill

done: list[str] = []
undone: list[str] = []
broken: set[str] = set()
dies: set[str] = set()


class Death(BaseException):
    """The process is gone."""


@skill("depot.act", lane="async")
async def act(name: str, context: SkillContext) -> str:
    """Does something, or breaks."""
    if name in broken:
        raise PermanentError(f"{name} is broken")
    done.append(context.key)
    return name.upper()


@skill("depot.undo", lane="async")
async def undo(name: str, context: SkillContext) -> str:
    """Undoes it, or breaks."""
    if f"undo {name}" in broken:
        raise PermanentError(f"{name} cannot be undone now")
    undone.append(name)
    if name in dies:
        dies.discard(name)
        raise Death
    return "undone"
