"""Our own rules, for what the standard allows and nobody should pay without a look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from muster.skills.finance.invoice import Invoice, InvoiceLine
from muster.skills.finance.money import cents
from muster.skills.finance.rules.rule import OURS, Breach, Rule
from muster.skills.finance.rules.sums import total

PLAUSIBLE_AGE = timedelta(days=20 * 365)
"""An invoice older than this was misread or misdated."""


def rules(today: date, expected_currency: str | None = None) -> tuple[Rule, ...]:
    """The rules as of a day, and for a buyer who expects a currency."""

    def future(invoice: Invoice) -> Iterator[Breach]:
        # A day's grace, because the date carries no zone.
        if invoice.issue_date and invoice.issue_date > today + timedelta(days=1):
            yield Breach("issue_date", {"date": invoice.issue_date, "today": today})

    def ancient(invoice: Invoice) -> Iterator[Breach]:
        if invoice.issue_date and invoice.issue_date < today - PLAUSIBLE_AGE:
            yield Breach("issue_date", {"date": invoice.issue_date})

    def currency(invoice: Invoice) -> Iterator[Breach]:
        if expected_currency and invoice.currency and invoice.currency != expected_currency:
            yield Breach("currency", {"found": invoice.currency, "expected": expected_currency})

    return (
        Rule("MU-DATE-FUTURE", "The invoice is dated {date}, and today is {today}.", future, source=OURS),
        Rule("MU-DATE-ANCIENT", "The invoice is dated {date}, over twenty years ago.", ancient, source=OURS),
        Rule("MU-CURRENCY-UNEXPECTED", "The invoice is in {found}, not in {expected}.", currency, source=OURS),
        *_ALWAYS,
    )


def _due_before_issue(invoice: Invoice) -> Iterator[Breach]:
    if invoice.issue_date and invoice.due_date and invoice.due_date < invoice.issue_date:
        yield Breach("due_date", {"due": invoice.due_date, "issued": invoice.issue_date})


def _negative(invoice: Invoice) -> Iterator[Breach]:
    gross = invoice.totals.gross
    if gross is not None and gross < 0 and not invoice.is_credit_note:
        yield Breach("totals.gross", {"gross": gross, "currency": invoice.currency or ""})


def _sub_lines(invoice: Invoice) -> Iterator[Breach]:
    for index, line in enumerate(invoice.lines):
        yield from _sub_lines_add_up(f"lines[{index}]", line)


def _sub_lines_add_up(path: str, line: InvoiceLine) -> Iterator[Breach]:
    amounts = [part.net_amount for part in line.sub_lines]
    if amounts and line.net_amount is not None and cents(line.net_amount) != cents(total(amounts)):
        yield Breach(f"{path}.net_amount", {"path": path, "found": line.net_amount, "expected": total(amounts)})
    for index, part in enumerate(line.sub_lines):
        yield from _sub_lines_add_up(f"{path}.sub_lines[{index}]", part)


def _line_amounts(invoice: Invoice) -> Iterator[Breach]:
    for index, line in enumerate(invoice.lines):
        expected = _line_amount(line)
        # One cent for each of the two roundings, of the price and of the product.
        if expected is not None and line.net_amount is not None and abs(line.net_amount - expected) > Decimal("0.02"):
            values = {"path": f"lines[{index}]", "found": line.net_amount, "expected": cents(expected)}
            yield Breach(f"lines[{index}].net_amount", values)


def _line_amount(line: InvoiceLine) -> Decimal | None:
    if line.quantity is None or line.net_price is None or line.base_quantity == 0:
        return None
    price = line.net_price * line.quantity / (line.base_quantity or Decimal(1))
    return price - total(part.amount for part in line.allowances) + total(part.amount for part in line.charges)


_ALWAYS = (
    Rule(
        "MU-DATE-DUE-EARLY",
        "The invoice is due on {due}, before its date {issued}.",
        _due_before_issue,
        "warning",
        OURS,
    ),
    Rule(
        "MU-TOTAL-NEGATIVE",
        "The total {gross} {currency} is negative in what is no credit note.",
        _negative,
        source=OURS,
    ),
    Rule(
        "MU-LINE-AMOUNT",
        "{path}: quantity times price, less allowances, plus charges, is {expected}, but it says {found}.",
        _line_amounts,
        "warning",
        OURS,
    ),
    Rule(
        "BR-DEX-02", "The lines below {path} add up to {expected}, but it says {found}.", _sub_lines, source="XRechnung"
    ),
)
