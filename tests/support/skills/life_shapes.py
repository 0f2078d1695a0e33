import json
from pathlib import Path
from typing import Any

from muster.errors import PermanentError, SetAside
from muster.skills import SkillContext, skill


def says(folder: str, gave: Any = None, **call: Any) -> Any:
    """Write down a call; what it gives back when it came through: of no two calls the same, but for lists of names."""
    calls = Path(folder) / "calls"
    number = len(calls.read_text().splitlines()) + 1
    name = str(call["of"][0]).split(".")[0] if call["index"] is not None else call["step"]
    how = "ok"
    for file in ("aside", "broken"):
        if f"{call['step']}.{name}" in (Path(folder) / file).read_text().split():
            how = file
    if gave is None:
        gave = f"{name}.{number}"
    with calls.open("a") as file:
        file.write(json.dumps({"number": number, "how": how, "gave": gave if how == "ok" else None, **call}) + "\n")
    if how == "aside":
        raise SetAside(f"{name} is set aside")
    if how == "broken":
        raise PermanentError(f"{name} is broken")
    return gave


@skill("life.names", lane="async")
async def names(folder: str, step: str) -> list[str]:
    """What the file says today."""
    return says(folder, (Path(folder) / "names").read_text().split(), step=step, index=None, of=[])


@skill("life.present", lane="async")
async def present(folder: str, step: str, of: list[Any]) -> list[str]:
    """The names of what came through."""
    return says(folder, [one.split(".")[0] for one in of[0] if one is not None], step=step, index=None, of=of)


@skill("life.work", lane="async")
async def work(folder: str, step: str, of: list[Any], index: int = -1) -> str:
    """Makes something of what others made."""
    return says(folder, step=step, index=None if index < 0 else index, of=of)


@skill("life.undo", lane="async")
async def undo(folder: str, step: str, index: int, context: SkillContext) -> None:
    """Takes back whatever was made."""
    says(folder, step="undo", index=index, of=[context.undoes], undone=step)
