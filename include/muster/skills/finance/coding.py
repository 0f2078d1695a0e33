"""Which cost centre pays for a line: what an agent answers, and what the supplier's history says."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import BaseModel, ConfigDict, Field, field_validator

from muster.errors import SetAside
from muster.findings import Finding
from muster.skills.finance.invoice import Invoice, InvoiceLine
from muster.skills.finance.money import net_of
from muster.skills.finance.suppliers import Supplier, find_supplier
from muster.skills.registry import SkillContext, skill

HALF_LIFE = 180
"""Days after which a coding counts half."""
MEMORY = 500
"""How many of a supplier's latest codings are looked at."""

CostCentreCode = Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9-]{1,19}$")]
"""A cost centre's code, for example `4100`."""


class CodedLine(BaseModel):
    """Where one line of an invoice goes."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    line: str = Field(min_length=1)
    """The line's id on the invoice."""
    cost_centre: CostCentreCode
    """The code of the cost centre that pays for it."""
    account: Annotated[str, Field(pattern=r"^\d{3,10}$")] | None = None
    """The expense account, when not the usual one."""
    confidence: Decimal = Field(default=Decimal(0), ge=0, le=1)
    """How sure the coding is, from 0 to 1."""
    reason: str = ""
    """Why, in one sentence."""


class CodedInvoice(BaseModel):
    """A cost centre for each line of an invoice."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    lines: list[CodedLine] = Field(min_length=1)
    """One entry for each line of the invoice; an invoice without lines has the one line `1`."""

    @field_validator("lines")
    @classmethod
    def _each_once(cls, lines: list[CodedLine]) -> list[CodedLine]:
        twice = sorted({line.line for line in lines if sum(other.line == line.line for other in lines) > 1})
        if twice:
            raise ValueError(f"each line is coded once, but {', '.join(twice)} more often")
        return lines


class HistoryCoding(CodedInvoice):
    """A coding made by rule from what was done before."""

    produced_by: Literal["rules"] = "rules"
    """Never a model's work."""


class CostCentre(BaseModel):
    """A cost centre that may be charged."""

    code: str
    name: str


@dataclass(frozen=True)
class CodableLine:
    """A part of an invoice that gets one cost centre."""

    name: str
    text: str
    item_key: str
    """What recurs from invoice to invoice: the supplier's item number, else the item's name in plain words."""
    net: Decimal


@dataclass(frozen=True)
class _Coding:
    item_key: str
    cost_centre: str
    account: str | None
    coded_on: date


@skill("finance.list_cost_centres", lane="worker")
def list_cost_centres(context: SkillContext) -> list[CostCentre]:
    """The cost centres that may be charged, with their names."""
    with context.database.connection() as connection:
        rows = connection.execute("SELECT code, name FROM finance.cost_centres WHERE active ORDER BY code")
        return [CostCentre(code=code, name=name) for code, name in rows]


@skill("finance.code_by_history", lane="worker")
def code_by_history(invoice: Invoice, context: SkillContext) -> HistoryCoding:
    """Code each line as the supplier's lines were coded before: the most frequent, recent ones counting more.

    Lines of the same item decide; without any, the supplier's other lines do, then the supplier's usual cost centre.

    Raises:
        SetAside: nothing is known that a line could be coded by.
    """
    with context.database.connection() as connection:
        supplier, _ = find_supplier(connection, invoice)
        history = _history(connection, supplier, context.now.date())
    coded = [_code(line, history, supplier, context.now.date()) for line in codable_lines(invoice)]
    uncoded = [line.name for line, answer in zip(codable_lines(invoice), coded, strict=True) if answer is None]
    if uncoded:
        message = f"No cost centre is known for line {', '.join(uncoded)}."
        raise SetAside(
            message,
            [Finding(rule="MU-COST-CENTRE", message=message, path="lines")],
            remedy="Give the supplier a usual cost centre.",
        )
    return HistoryCoding(lines=[answer for answer in coded if answer is not None])


def codable_lines(invoice: Invoice) -> list[CodableLine]:
    """The invoice's lines, or the whole invoice as line `1` when it shows none."""
    if not invoice.lines:
        return [CodableLine("1", "the whole invoice", "", invoice.totals.net or Decimal(0))]
    return [
        CodableLine(line.id or str(position), line.item.name or "", item_key(line), net_of(line))
        for position, line in enumerate(invoice.lines, start=1)
    ]


def item_key(line: InvoiceLine) -> str:
    """What an item is recognised by in later invoices."""
    return line.item.seller_id or " ".join(re.findall(r"[^\W\d]+", (line.item.name or "").casefold()))


def _history(connection: Connection[Any], supplier: Supplier | None, today: date) -> list[_Coding]:
    if supplier is None:
        return []
    cursor = connection.cursor(row_factory=class_row(_Coding)).execute(
        """SELECT h.item_key, h.cost_centre, h.account, h.coded_on FROM finance.coding_history h
             JOIN finance.cost_centres c ON c.code = h.cost_centre AND c.active
            WHERE h.supplier_id = %s AND h.coded_on <= %s ORDER BY h.coded_on DESC, h.id DESC LIMIT %s""",
        (supplier.id, today, MEMORY),
    )
    return cursor.fetchall()


def _code(line: CodableLine, history: list[_Coding], supplier: Supplier | None, today: date) -> CodedLine | None:
    same_item = [coding for coding in history if coding.item_key == line.item_key]
    if same_item:
        return _most_frequent(line, same_item, today, "this item", Decimal(1))
    if history:
        return _most_frequent(line, history, today, "this supplier", Decimal("0.7"))
    if supplier is not None and supplier.cost_centre:
        reason = f"The usual cost centre of {supplier.name}; it has no history yet."
        return CodedLine(line=line.name, cost_centre=supplier.cost_centre, confidence=Decimal("0.5"), reason=reason)
    return None


def _most_frequent(line: CodableLine, codings: Iterable[_Coding], today: date, of: str, trust: Decimal) -> CodedLine:
    weights: dict[tuple[str, str | None], float] = defaultdict(float)
    counts: dict[tuple[str, str | None], int] = defaultdict(int)
    for coding in codings:
        target = (coding.cost_centre, coding.account)
        weights[target] += 0.5 ** ((today - coding.coded_on).days / HALF_LIFE)
        counts[target] += 1
    best = max(weights, key=lambda target: (weights[target], target[0], target[1] or ""))
    count, total = counts[best], sum(counts.values())
    # One earlier coding is a hint, many are a habit: Laplace's rule keeps a short history from looking certain.
    share = Decimal(str(weights[best] / sum(weights.values()))) * (total + 1) / (total + 2)
    return CodedLine(
        line=line.name,
        cost_centre=best[0],
        account=best[1],
        confidence=(share * trust).quantize(Decimal("0.01")),
        reason=f"{count} of {total} earlier codings of {of} went to {best[0]}.",
    )
