from typing import Any

from muster.skills import skill


@skill("office.count", lane="async")
async def count(name: str) -> Any:
    """Counts."""
    return 10**5000 if name == "b" else name
