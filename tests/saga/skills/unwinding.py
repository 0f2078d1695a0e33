import time

from muster.errors import PermanentError, TransientError
from muster.skills import SkillContext, skill

done: list[str] = []
undone: list[tuple[str, object]] = []
broken: set[str] = set()
flaky: dict[str, int] = {}
hanging: set[str] = set()


@skill("depot.act")
def act(name: str, context: SkillContext) -> str:
    """Does something, or breaks."""
    if name in broken:
        raise PermanentError(f"{name} is broken")
    done.append(context.key)
    return name.upper()


@skill("depot.undo")
def undo(context: SkillContext, said: str | None = None) -> str:
    """Undoes it, or breaks."""
    while context.step in hanging:
        time.sleep(0.05)
    if f"undo {context.step}" in broken:
        raise PermanentError("it cannot be undone now")
    if flaky.get(context.step, 0) > 0:
        flaky[context.step] -= 1
        raise TransientError("not yet")
    undone.append((context.undoes.rpartition("/")[2], said))
    return "undone"
