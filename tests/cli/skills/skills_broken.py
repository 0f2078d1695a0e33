from muster.skills import skill


@skill("broken.divide")
def divide(by: int) -> float:
    """Divides."""
    return 1 / by


@skill("broken.give", lane="async")
async def give() -> object:
    """Gives back what is no data."""
    return divide


@skill("broken.leave", lane="async")
async def leave(code: int) -> str:
    """Leaves."""
    raise SystemExit(code)


@skill("broken.leave_at_once")
def leave_at_once(code: int) -> str:
    """Leaves."""
    raise SystemExit(code)
