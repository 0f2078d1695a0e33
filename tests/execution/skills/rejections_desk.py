from pathlib import Path

from muster.skills import skill


@skill("desk.do")
def do(name: str, folder: str) -> str:
    """Do it, and leave a trace."""
    with (Path(folder) / "done").open("a") as done:
        done.write(f"{name}\n")
    return name
