from pathlib import Path

from muster.errors import PermanentError, SetAside
from muster.skills import skill


@skill("d.names", lane="async")
async def names(folder: str) -> list[str]:
    """The list, as it is written in a file now."""
    return (Path(folder) / "names").read_text().split()


@skill("d.work", lane="async")
async def work(name: str, step: str, folder: str) -> str:
    """What was called is written down; files say what is broken now."""
    with (Path(folder) / "calls").open("a") as calls:
        calls.write(f"{step} {name}\n")
    if (Path(folder) / f"{step}.{name}.broken").exists():
        raise PermanentError("broken")
    if (Path(folder) / f"{step}.{name}.aside").exists():
        raise SetAside("aside")
    return name
