from pathlib import Path

from muster.errors import PermanentError
from muster.skills import SkillContext, skill


@skill("depot.act", lane="async")
def act(name: str, breaks: bool = False) -> str:
    """Does something, or breaks."""
    if breaks:
        raise PermanentError(f"{name} is broken")
    return name


@skill("depot.undo")
def undo(folder: str, context: SkillContext, said: str | None = None) -> str:
    """Undoes it and leaves a mark; breaks while there is a file that says so."""
    if (Path(folder) / f"{context.step}.broken").exists():
        raise PermanentError("it cannot be undone now")
    with (Path(folder) / "undone").open("a") as marks:
        marks.write(f"{context.step} {said}\n")
    return "undone"
