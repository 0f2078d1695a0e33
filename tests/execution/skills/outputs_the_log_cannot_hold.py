from pathlib import Path
from typing import Any

from muster.skills import skill


@skill("office.count", lane="async")
async def count(name: str) -> Any:
    """Counts."""
    return 10**5000 if name == "b" else name


@skill("office.give", lane="async")
async def give(folder: str, what: str) -> Any:
    """Writes down that it was done."""
    with (Path(folder) / "calls").open("a") as file:
        file.write("done\n")
    endless: list[Any] = []
    endless.append(endless)
    return {"bytes": [b"\xff"], "endless": endless, "thing": object()}[what]
