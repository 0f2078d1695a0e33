import sys

from muster.skills import skill


@skill("exit.leave")
def leave(code: int) -> str:
    """Leaves."""
    sys.exit(code)


@skill("exit.aleave", lane="async")
async def aleave(code: int) -> str:
    """Leaves."""
    sys.exit(code)


@skill("exit.fine", lane="async")
async def fine() -> str:
    """Is fine."""
    return "fine"
