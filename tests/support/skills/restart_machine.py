from pathlib import Path

from muster.errors import PermanentError, SetAside
from muster.skills import SkillContext, skill


def said(folder: str, *words: str) -> None:
    with (Path(folder) / "calls").open("a") as file:
        file.write(" ".join(words) + "\n")


def met(folder: str, what: str, step: str, name: str) -> bool:
    return f"{step}.{name}" in (Path(folder) / what).read_text().split()


@skill("shop.names", lane="async")
async def names(folder: str) -> list[str]:
    """What the file says today."""
    found = (Path(folder) / "names").read_text().split()
    said(folder, "list", *found)
    return found


@skill("shop.work", lane="async")
async def work(folder: str, step: str, name: str, context: SkillContext) -> str:
    """Works on one name, unless the files say that it is set aside or fails."""
    if met(folder, "aside", step, name):
        said(folder, step, name, "aside")
        raise SetAside(f"{name} is set aside")
    if met(folder, "broken", step, name):
        said(folder, step, name, "broken", context.key)
        raise PermanentError(f"{name} is broken")
    said(folder, step, name, "ok", context.key)
    return name


@skill("shop.undo", lane="async")
async def undo(folder: str, context: SkillContext) -> None:
    """Takes back whatever was posted under a key."""
    said(folder, "undo", str(context.undoes))
