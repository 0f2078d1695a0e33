"""What a team does whose plan grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from muster.skills import skill


@skill("growing.find", lane="async")
async def find(ask: str, parts: Sequence[str] = ()) -> dict[str, object] | str:
    """Name a task for each part; `name/skill` needs that skill, `name@agent` that agent, `name!file` a file."""
    if not parts:
        return ask
    more = list[dict[str, object]]()
    for part in parts:
        name, _, file = part.partition("!")
        name, _, needed = name.partition("/")
        name, _, agent = name.partition("@")
        who: dict[str, object] = {"agent": agent} if agent else {"needs": [needed or "write"]}
        more.append({"id": f"find_{name}", "ask": f"Write {name}.", "with": {"unless": file}, **who})
    return {"more_tasks": more}


@skill("growing.write", lane="async")
async def write(ask: str, text: str = "", remarks: str = "", work_so_far: str = "", unless: str = "") -> str:
    """Write a text; the second time it is longer."""
    if unless and not Path(unless).exists():
        raise ValueError("it cannot be done")
    if remarks:
        return f"{text}, {remarks}: was {work_so_far}"
    return text or ask


@skill("growing.lead", lane="async")
async def lead(
    stage: str, goal: Sequence[str] = (), results: Mapping[str, str] | None = None, turn: int = 0
) -> dict[str, object] | str:
    """Split the goal, send back what is about milk and short, and merge; or decide turn by turn."""
    results = results or {}
    if stage == "plan":
        return {"tasks": [_task(name) for name in goal]}
    if stage == "review":
        short = [name for name, text in results.items() if text == "milk"]
        back = [{"task": name, "remarks": "longer"} for name in short]
        return {"accepted": False, "back": back} if back else {"accepted": True}
    if stage == "turn":
        left = list(goal)[turn - 1 :]
        return {"done": False, "next": [_task(left[0])]} if left else {"done": True}
    return "; ".join(map(str, results.values()))


def _task(name: str) -> dict[str, object]:
    return {"id": name, "ask": f"Write about {name}.", "needs": ["write"], "with": {"text": name}}


@skill("growing.undo")
def undo(task: str, file: str) -> str:
    """Note that a task was undone."""
    with Path(file).open("a") as out:
        out.write(f"{task}\n")
    return task


@skill("growing.fail")
def fail() -> None:
    """Fail."""
    raise ValueError("it fails")
