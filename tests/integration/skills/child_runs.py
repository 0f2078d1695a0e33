from pathlib import Path

from muster.errors import PermanentError
from muster.skills import skill


@skill("parcel.act", lane="async")
def act(name: str, breaks: bool = False) -> str:
    """Does something, or breaks."""
    if breaks:
        raise PermanentError(f"{name} is broken")
    return name


@skill("parcel.undo", lane="async")
def undo(folder: str, name: str) -> str:
    """Undoes it and leaves a mark; breaks while there is a file that says so."""
    if (Path(folder) / f"{name}.broken").exists():
        raise PermanentError("it cannot be undone now")
    with (Path(folder) / "undone").open("a") as marks:
        marks.write(f"{name}\n")
    return "undone"
