from pathlib import Path

from muster.skills import skill


@skill("office.note", lane="async")
async def note(folder: str, what: str) -> None:
    """Writes down that it was called."""
    with (Path(folder) / "calls").open("a") as file:
        file.write(f"{what}\n")
