import asyncio
from pathlib import Path

from muster.skills import SkillContext, skill


@skill("reconciled.mark")
def mark(folder: str, context: SkillContext) -> str:
    """Leaves a mark each time it is called."""
    with (Path(folder) / "marks").open("a") as marks:
        marks.write(f"{context.step}{'' if context.index is None else context.index}\n")
    return "done"


@skill("reconciled.wait", lane="async")
async def wait(folder: str, seconds: float, context: SkillContext) -> str:
    """Leaves a mark once it has waited."""
    await asyncio.sleep(seconds)
    return mark(folder, context)
