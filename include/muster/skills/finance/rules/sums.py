"""Amounts that must add up: BR-CO-10 to BR-CO-17."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from muster.skills.finance.invoice import Invoice
from muster.skills.finance.money import cents
from muster.skills.finance.rules.rule import Breach, Rule

ZERO = Decimal(0)

VAT_TOLERANCE = Decimal(1)
"""How far a VAT amount may be from the exact one before it is an error rather than a warning.

Sellers who round line by line differ by cents, and the standard's validators let up to one unit pass.
"""


def total(amounts: Iterable[Decimal | None]) -> Decimal:
    """The sum of the amounts that are there."""
    return sum((amount for amount in amounts if amount is not None), ZERO)


def _adds_up(
    field: str, expected: Callable[[Invoice], Decimal | None], *, absent: Decimal | None = None
) -> Callable[[Invoice], Iterator[Breach]]:
    """A check of one total against what it should be. A missing total counts as `absent`; without that it passes."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        stated = getattr(invoice.totals, field)
        stated = absent if stated is None else stated
        right = expected(invoice)
        if stated is not None and right is not None and cents(stated) != cents(right):
            yield Breach(f"totals.{field}", {"found": stated, "expected": cents(right)})

    return check


def _line_total(invoice: Invoice) -> Decimal:
    return total(line.net_amount for line in invoice.lines)


def _allowances(invoice: Invoice) -> Decimal:
    return total(part.amount for part in invoice.allowances)


def _charges(invoice: Invoice) -> Decimal:
    return total(part.amount for part in invoice.charges)


def _net(invoice: Invoice) -> Decimal | None:
    sums = invoice.totals
    if sums.line_total is None:
        return None
    return sums.line_total - (sums.allowance_total or ZERO) + (sums.charge_total or ZERO)


def _vat(invoice: Invoice) -> Decimal | None:
    return total(part.tax_amount for part in invoice.vat_breakdown) if invoice.vat_breakdown else None


def _gross(invoice: Invoice) -> Decimal | None:
    return None if invoice.totals.net is None else invoice.totals.net + (invoice.totals.vat or ZERO)


def _due(invoice: Invoice) -> Decimal | None:
    sums = invoice.totals
    return None if sums.gross is None else sums.gross - (sums.prepaid or ZERO) + (sums.rounding or ZERO)


def vat_breach(path: str, stated: Decimal, expected: Decimal) -> Iterator[Breach]:
    """A breach when a VAT amount is wrong: only a warning when it is wrong by less than the tolerance."""
    if cents(stated) != expected:
        severity = "error" if abs(stated - expected) >= VAT_TOLERANCE else "warning"
        yield Breach(path, {"found": stated, "expected": expected, "path": path}, severity)  # type: ignore[arg-type]


def _breakdown(invoice: Invoice) -> Iterator[Breach]:
    for index, part in enumerate(invoice.vat_breakdown):
        if part.taxable_amount is not None and part.tax_amount is not None:
            expected = cents(part.taxable_amount * (part.rate or ZERO) / 100)
            yield from vat_breach(f"vat_breakdown[{index}].tax_amount", part.tax_amount, expected)


RULES: tuple[Rule, ...] = (
    Rule(
        "BR-CO-10",
        "The lines add up to {expected}, but the invoice says {found} (BT-106).",
        _adds_up("line_total", _line_total),
    ),
    Rule(
        "BR-CO-11",
        "The document's allowances add up to {expected}, but the invoice says {found} (BT-107).",
        _adds_up("allowance_total", _allowances, absent=ZERO),
    ),
    Rule(
        "BR-CO-12",
        "The document's charges add up to {expected}, but the invoice says {found} (BT-108).",
        _adds_up("charge_total", _charges, absent=ZERO),
    ),
    Rule(
        "BR-CO-13",
        "Lines less allowances plus charges make {expected}, but the total without VAT is {found} (BT-109).",
        _adds_up("net", _net),
    ),
    Rule(
        "BR-CO-14",
        "The VAT breakdown adds up to {expected}, but the total VAT is {found} (BT-110).",
        _adds_up("vat", _vat, absent=ZERO),
    ),
    Rule(
        "BR-CO-15",
        "The total without VAT plus the VAT makes {expected}, but the total with VAT is {found} (BT-112).",
        _adds_up("gross", _gross),
    ),
    Rule(
        "BR-CO-16",
        "The total with VAT less what is prepaid, rounded, makes {expected}, but {found} is due (BT-115).",
        _adds_up("due", _due),
    ),
    Rule("BR-CO-17", "The taxable amount times the rate is {expected}, but {path} is {found}.", _breakdown),
)
