"""Amounts: rounded to cents, added up, and shared out so that nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal

from muster.skills.finance.invoice import InvoiceLine

CENT = Decimal("0.01")
_WIDE = Context(prec=200)
"""The usual 28 digits cannot round the product of two absurd numbers; an invoice may hold them all the same."""


def cents(amount: Decimal) -> Decimal:
    """The amount rounded half up to two places, as invoices are."""
    return amount.quantize(CENT, ROUND_HALF_UP, context=_WIDE)


def net_of(line: InvoiceLine) -> Decimal:
    """What a line costs without VAT: its net amount, else quantity times price."""
    if line.net_amount is not None:
        return line.net_amount
    if line.quantity is None or line.net_price is None:
        return Decimal(0)
    return cents(line.quantity * line.net_price / (line.base_quantity or Decimal(1)))


def share(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """`amount` divided in proportion to `weights`, in cents; the parts add up to it exactly.

    With no weight at all the first part gets everything.
    """
    total = sum(weights, Decimal(0))
    parts = [cents(amount * weight / total) if total else Decimal(0) for weight in weights]
    if parts:
        # What rounding left over goes to the part with the largest weight, where a cent matters least.
        largest = max(range(len(parts)), key=lambda position: abs(weights[position]))
        parts[largest] += amount - sum(parts, Decimal(0))
    return parts
