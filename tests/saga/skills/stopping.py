from muster.errors import PermanentError
from muster.skills import SkillContext, skill

undone: list[tuple[str, object, object]] = []
broken: set[str] = set()
names: list[str] = []


@skill("depot.names")
def names_() -> list[str]:
    """The list as it is now."""
    return list(names)


@skill("depot.act")
def act(name: str) -> str:
    """Does something, or breaks."""
    if name in broken:
        raise PermanentError(f"{name} is broken")
    return name.upper()


@skill("depot.undo")
def undo(context: SkillContext, said: str | None = None, item: str | None = None) -> str:
    """Undoes it."""
    undone.append((context.undoes.rpartition("/")[2], said, item))
    return "undone"
