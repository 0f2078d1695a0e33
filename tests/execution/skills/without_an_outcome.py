from pathlib import Path

from muster.errors import PermanentError
from muster.skills import skill


def note(folder: str, what: str) -> str:
    with (Path(folder) / "done").open("a") as done:
        done.write(what + "\n")
    return what


@skill("till.pay")
def pay(folder: str, what: str) -> str:
    """Pays it, which the file tells."""
    return note(folder, what)


@skill("till.apay", lane="async")
async def apay(folder: str, what: str) -> str:
    """Pays it, which the file tells."""
    return note(folder, what)


@skill("till.match")
def match(what: int) -> int:
    """Matches it, but for 20."""
    if what == 20:
        raise PermanentError("no order")
    return what
