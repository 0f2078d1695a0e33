from pathlib import Path

from muster.errors import PermanentError
from muster.skills import SkillContext, skill

MENDED = Path(__file__).parents[1] / "mended"


@skill("depot.act")
def act(name: str) -> str:
    """Does something."""
    if name == "bad" and not MENDED.exists():
        raise PermanentError("it is broken")
    return name


@skill("depot.undo")
def undo(context: SkillContext) -> str:
    """Undoes it."""
    if not MENDED.exists():
        raise PermanentError("it cannot be undone now")
    return context.step
