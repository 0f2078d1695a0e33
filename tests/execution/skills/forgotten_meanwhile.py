import time

from muster.errors import TransientError
from muster.skills import SkillContext, skill


@skill("people.write")
def write(text: str, item: int, context: SkillContext) -> int:
    """Write a letter."""
    (context.workspace / f"{item}.txt").write_text(text)
    return item


@skill("people.tell")
def tell(text: str, context: SkillContext) -> str:
    """Add a line; it does not come through before somebody says so."""
    goes = (context.workspace.parent / "goes").exists()
    with (context.workspace.parent / "said").open("a") as said:
        said.write(text + chr(10))
    if not goes:
        raise TransientError("not yet")
    return text


@skill("people.stall")
def stall(text: str, context: SkillContext) -> str:
    """Fail in the end, once somebody says so."""
    beside, until = context.workspace.parent, time.monotonic() + 30
    (beside / "said").write_text(text)
    while not (beside / "goes").exists() and time.monotonic() < until:
        time.sleep(0.05)
    raise ValueError("the bank is closed")


@skill("people.fail")
def fail() -> str:
    """Fail."""
    raise ValueError("no")
