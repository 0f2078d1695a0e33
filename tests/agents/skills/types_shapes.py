"""Types for tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, Field

from muster.skills import skill


class Colour(StrEnum):
    RED = "red"


class Line(BaseModel):
    amount: Decimal
    colour: Colour
    tags: set[str] = set()


@dataclass
class Order:
    lines: list[Line]
    due: date


Rate = Annotated[Decimal, Field(gt=0)]


@skill("shapes.count_lines")
def count_lines(order: Order) -> dict[str, Decimal]:
    """Count."""
    return {"count": Decimal(len(order.lines))}
