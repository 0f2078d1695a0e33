from pathlib import Path

from muster.errors import PermanentError
from muster.skills import SkillContext, skill


@skill("depot.work", lane="async")
async def work(name: str, folder: str, context: SkillContext) -> str:
    """Notes that it was called, and breaks while there is a file that says so."""
    with (Path(folder) / "calls").open("a") as calls:
        calls.write(f"{context.step} {name}\n")
    if (Path(folder) / f"{name}.broken").exists():
        raise PermanentError(f"{name} is broken")
    return name
