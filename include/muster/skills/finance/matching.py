"""Whether an invoice is what was ordered and received."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Literal

from pydantic import BaseModel, ConfigDict

from muster.skills.finance.invoice import Invoice, InvoiceLine
from muster.skills.finance.money import cents, net_of
from muster.skills.finance.orders import Order, OrderLine, load_order
from muster.skills.finance.policy import Tolerances, policy_of
from muster.skills.finance.suppliers import Supplier, find_supplier
from muster.skills.registry import SkillContext, skill

ALIKE = 0.7
"""From this ratio of matching characters on, two descriptions mean the same item."""

Kind = Literal[
    "no_order", "unknown_order", "other_supplier", "currency", "credit_note", "not_ordered", "price", "quantity",
    "not_received", "charge", "total",
]  # fmt: skip


class Discrepancy(BaseModel):
    """One way in which the invoice is not what was ordered and received."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    message: str
    """One sentence a clerk understands, with the values that disagree."""
    line: str | None = None
    """The invoice line; None when it concerns the whole invoice."""
    expected: Decimal | None = None
    """What order and receipts say: an amount for a price, a quantity for a quantity."""
    actual: Decimal | None = None
    """What the invoice says."""
    amount: Decimal = Decimal(0)
    """What is at stake, without VAT, in the invoice's currency; negative in our favour."""


class MatchedLine(BaseModel):
    """An invoice line and the order line it bills."""

    model_config = ConfigDict(frozen=True)

    line: str
    order_line: str
    by: Literal["reference", "item", "description"]
    quantity: Decimal
    """Billed on this invoice."""
    ordered: Decimal
    received: Decimal
    billed_before: Decimal
    amount: Decimal
    """Net amount on the invoice."""
    expected_amount: Decimal
    """The quantity at the order's price."""


class OrderMatch(BaseModel):
    """An invoice held against its order."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["none", "two_way", "three_way"]
    """Against nothing, against the order, or against the order and its receipts."""
    order: str | None
    lines: list[MatchedLine]
    discrepancies: list[Discrepancy]
    total: Decimal
    """The invoice's gross amount."""
    currency: str
    tolerance: Tolerances
    """The tolerances in force."""


@skill("finance.match_order", lane="worker")
def match_order(invoice: Invoice, context: SkillContext) -> OrderMatch:
    """Match the invoice with its purchase order, and with the goods receipts where the order asks for them."""
    tolerance = policy_of(context.settings).tolerances
    with context.database.connection() as connection:
        supplier, _ = find_supplier(connection, invoice)
        order = load_order(connection, invoice.order_reference) if invoice.order_reference else None
    return compare(invoice, supplier, order, tolerance)


def compare(invoice: Invoice, supplier: Supplier | None, order: Order | None, tolerance: Tolerances) -> OrderMatch:
    """The match itself, on plain values."""
    lines: list[MatchedLine] = []
    discrepancies = list(_about_the_whole(invoice, supplier, order))
    comparable = order is not None and not discrepancies
    if order is not None and comparable:
        pairs = _pair(invoice.lines, order)
        lines = [_matched(line, name, *pair) for name, line, pair in pairs if pair is not None]
        discrepancies += _not_ordered(pairs, order)
        discrepancies += _prices(lines, tolerance, invoice.currency or "")
        discrepancies += billed_too_much(lines, order, tolerance)
        discrepancies += _beside_the_lines(invoice, order, tolerance)
    return OrderMatch(
        kind="none" if order is None or not comparable else "three_way" if order.receipt_required else "two_way",
        order=order.number if order else None,
        lines=lines,
        discrepancies=discrepancies,
        total=invoice.totals.gross or Decimal(0),
        currency=invoice.currency or "",
        tolerance=tolerance,
    )


def billed_too_much(lines: Iterable[MatchedLine], order: Order, tolerance: Tolerances) -> Iterator[Discrepancy]:
    """What the lines bill beyond what may still be billed of the order."""
    # Several invoice lines may bill one order line: only together can they be too many.
    by_order_line: dict[str, list[MatchedLine]] = defaultdict(list)
    for line in lines:
        by_order_line[line.order_line].append(line)
    for ordered in order.lines:
        billing = by_order_line.get(ordered.line)
        if not billing:
            continue
        quantity = sum((line.quantity for line in billing), Decimal(0))
        basis = ordered.received if order.receipt_required else ordered.quantity
        excess = quantity - order.available(ordered)
        if excess > basis * tolerance.quantity_percent / 100:
            yield _too_many(order, ordered, billing, quantity, excess)


def _about_the_whole(invoice: Invoice, supplier: Supplier | None, order: Order | None) -> Iterator[Discrepancy]:
    if invoice.is_credit_note:
        yield Discrepancy(kind="credit_note", message="A credit note is not matched with an order: a person decides.")
    elif invoice.order_reference is None:
        if supplier is None or supplier.order_required:
            yield Discrepancy(kind="no_order", message="The invoice names no purchase order.")
    elif order is None:
        yield Discrepancy(kind="unknown_order", message=f"There is no purchase order {invoice.order_reference}.")
    elif supplier is None or order.supplier_id != supplier.id:
        yield Discrepancy(kind="other_supplier", message=f"Order {order.number} was given to another supplier.")
    elif order.currency != invoice.currency:
        message = f"Order {order.number} is in {order.currency}, the invoice in {invoice.currency}."
        yield Discrepancy(kind="currency", message=message)


Pair = tuple[OrderLine, Literal["reference", "item", "description"]]


def _pair(lines: Iterable[InvoiceLine], order: Order) -> list[tuple[str, InvoiceLine, Pair | None]]:
    pairs: list[tuple[str, InvoiceLine, Pair | None]] = []
    taken: set[str] = set()
    for position, line in enumerate(lines, start=1):
        pair = _by_reference(line, order) or _by_item(line, order) or _by_description(line, order, taken)
        if pair is not None:
            taken.add(pair[0].line)
        pairs.append((line.id or str(position), line, pair))
    return pairs


def _by_reference(line: InvoiceLine, order: Order) -> Pair | None:
    return next(((ordered, "reference") for ordered in order.lines if ordered.line == line.order_line_reference), None)


def _by_item(line: InvoiceLine, order: Order) -> Pair | None:
    item = line.item
    ids = {item.seller_id, item.buyer_id, item.standard_id.value if item.standard_id else None} - {None, ""}
    return next(((ordered, "item") for ordered in order.lines if ordered.item_id in ids), None)


def _by_description(line: InvoiceLine, order: Order, taken: set[str]) -> Pair | None:
    texts = [_words(text) for text in (line.item.name, line.item.description) if text]
    scored = [
        (max((SequenceMatcher(None, text, _words(ordered.description), autojunk=False).ratio() for text in texts),
             default=0.0), ordered)
        for ordered in order.lines if ordered.line not in taken
    ]  # fmt: skip
    ratio, best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    return (best, "description") if best is not None and ratio >= ALIKE else None


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _matched(
    line: InvoiceLine, name: str, ordered: OrderLine, by: Literal["reference", "item", "description"]
) -> MatchedLine:
    quantity = Decimal(1) if line.quantity is None else line.quantity
    return MatchedLine(
        line=name,
        order_line=ordered.line,
        by=by,
        quantity=quantity,
        ordered=ordered.quantity,
        received=ordered.received,
        billed_before=ordered.billed,
        amount=net_of(line),
        expected_amount=cents(quantity * ordered.unit_price),
    )


def _not_ordered(pairs: Iterable[tuple[str, InvoiceLine, Pair | None]], order: Order) -> Iterator[Discrepancy]:
    for name, line, pair in pairs:
        if pair is None and net_of(line):
            message = f"Line {name}, {line.item.name or 'without a name'}, is not on order {order.number}."
            yield Discrepancy(
                kind="not_ordered", line=name, message=message, expected=Decimal(0), actual=net_of(line),
                amount=net_of(line),
            )  # fmt: skip


def _prices(lines: Iterable[MatchedLine], tolerance: Tolerances, currency: str) -> Iterator[Discrepancy]:
    for line in lines:
        difference = line.amount - line.expected_amount
        if abs(difference) > _allowed(line.expected_amount, tolerance):
            message = (
                f"Line {line.line} costs {line.amount} {currency}, at the order's price it would be "
                f"{line.expected_amount} {currency}."
            )
            yield Discrepancy(
                kind="price", line=line.line, message=message, expected=line.expected_amount, actual=line.amount,
                amount=difference,
            )  # fmt: skip


def _allowed(amount: Decimal, tolerance: Tolerances) -> Decimal:
    return max(abs(amount) * tolerance.price_percent / 100, tolerance.price_amount)


def _too_many(
    order: Order, ordered: OrderLine, billing: list[MatchedLine], quantity: Decimal, excess: Decimal
) -> Discrepancy:
    arrived = f", {_plain(ordered.received)} received" if order.receipt_required else ""
    before = f", {_plain(ordered.billed)} already billed" if ordered.billed else ""
    message = (
        f"{_plain(quantity)} of {ordered.description!r} are billed;"
        f" {_plain(ordered.quantity)} ordered{arrived}{before}."
    )
    return Discrepancy(
        kind="quantity" if quantity + ordered.billed > ordered.quantity else "not_received",
        line=billing[0].line,
        message=message,
        expected=order.available(ordered),
        actual=quantity,
        amount=cents(excess * ordered.unit_price),
    )


def _beside_the_lines(invoice: Invoice, order: Order, tolerance: Tolerances) -> Iterator[Discrepancy]:
    charges = invoice.totals.charge_total or sum(
        (charge.amount or Decimal(0) for charge in invoice.charges), Decimal(0)
    )
    if invoice.lines:
        # What no charge explains, such as an allowance below zero, is a charge all the same.
        lines = sum((net_of(line) for line in invoice.lines), Decimal(0))
        charges = max(charges, (invoice.totals.net or Decimal(0)) - lines)
    if charges > _allowed(invoice.totals.net or Decimal(0), tolerance):
        message = f"{charges} {invoice.currency} of charges are not part of the order."
        yield Discrepancy(kind="charge", message=message, expected=Decimal(0), actual=charges, amount=charges)
    if not invoice.lines and invoice.totals.net is not None:
        open_amount = cents(sum((order.available(line) * line.unit_price for line in order.lines), Decimal(0)))
        excess = invoice.totals.net - open_amount
        if abs(excess) > _allowed(open_amount, tolerance):
            message = (
                f"The invoice shows no lines; its {invoice.totals.net} are not the {open_amount} open on the order."
            )
            yield Discrepancy(
                kind="total", message=message, expected=open_amount, actual=invoice.totals.net, amount=excess
            )


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
