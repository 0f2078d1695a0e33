"""Purchase orders with what was received and what was billed of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row
from pydantic import BaseModel, ConfigDict


class OrderLine(BaseModel):
    """A line of a purchase order, and how far it has come."""

    model_config = ConfigDict(frozen=True)

    line: str
    item_id: str | None
    description: str
    quantity: Decimal
    """Ordered."""
    unit_price: Decimal
    """Without VAT."""
    received: Decimal
    """By all goods receipts together."""
    billed: Decimal
    """By the invoices in the ledger."""


class Order(BaseModel):
    """A purchase order."""

    model_config = ConfigDict(frozen=True)

    number: str
    supplier_id: str
    currency: str
    receipt_required: bool
    """Three-way match: what is billed must have been received."""
    lines: list[OrderLine]

    def available(self, line: OrderLine) -> Decimal:
        """How much of the line may still be billed."""
        return (line.received if self.receipt_required else line.quantity) - line.billed


_LINES = """
SELECT l.line, l.item_id, l.description, l.quantity, l.unit_price,
       coalesce((SELECT sum(r.quantity) FROM finance.goods_receipt_lines r
                  WHERE (r.order_number, r.order_line) = (l.order_number, l.line)), 0) AS received,
       coalesce((SELECT sum(b.quantity) FROM finance.order_billings b
                  WHERE (b.order_number, b.order_line) = (l.order_number, l.line)), 0) AS billed
  FROM finance.purchase_order_lines l WHERE l.order_number = %s ORDER BY l.line
"""


def load_order(connection: Connection[Any], number: str) -> Order | None:
    """The order by its number, spaces around it and case aside."""
    head = (
        connection.cursor(row_factory=dict_row)
        .execute(
            """SELECT number, supplier_id, currency, receipt_required FROM finance.purchase_orders
                WHERE number = %(number)s OR upper(number) = upper(%(number)s) ORDER BY number <> %(number)s LIMIT 1""",
            {"number": number.strip()},
        )
        .fetchone()
    )
    if head is None:
        return None
    lines = connection.cursor(row_factory=class_row(OrderLine)).execute(_LINES, (head["number"],)).fetchall()
    return Order(**head, lines=lines)
