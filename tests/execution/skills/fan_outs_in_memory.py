from pydantic import BaseModel

from muster.skills import skill


class Letter(BaseModel):
    name: str


@skill("shop.read", lane="async")
async def read(name: str) -> Letter:
    """Reads one."""
    return Letter(name=name)
