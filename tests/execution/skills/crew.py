"""What a team does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from muster.errors import SetAside
from muster.skills import SkillContext, skill

__all__ = ["SetAside"]


@skill("crew.do", lane="async")
async def do(
    context: SkillContext, seconds: float = 0.0, unless: str = "", drawing: object = None, mark: str = ""
) -> dict[str, object]:
    """Work a while; note that in a file, and fail unless another one is there."""
    if mark:
        with Path(mark).open("a") as file:
            file.write(f"{context.index}\n")
    await asyncio.sleep(seconds)
    if unless and not Path(unless).exists():
        raise ValueError("it cannot be done")
    return {"at": context.index, "given": drawing}


@skill("crew.do_or_fail")
def do_or_fail(unless: str) -> str:
    """Fail unless a file is there."""
    if not Path(unless).exists():
        raise ValueError("it fails")
    return "done"


@skill("crew.undo")
def undo(task: str, file: str) -> str:
    """Note that a task was undone."""
    with Path(file).open("a") as out:
        out.write(f"{task}\n")
    return task


@skill("crew.fail")
def fail() -> None:
    """Fail."""
    raise ValueError("it fails")
