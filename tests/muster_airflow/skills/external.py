from datetime import date
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel

from muster.skills import skill


@skill("office.note", lane="async")
async def note(folder: str, what: str) -> None:
    """Writes down that it was called."""
    with (Path(folder) / "calls").open("a") as file:
        file.write(f"{what}\n")


class Bill(BaseModel):
    total: Decimal
    due: date


@skill("office.bill")
def bill() -> Bill:
    """Gives money and a date."""
    return Bill(total=Decimal("12.30"), due=date(2026, 2, 28))
