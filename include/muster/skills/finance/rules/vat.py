"""The VAT categories: BR-S, BR-Z, BR-E, BR-AE, BR-IC, BR-G, BR-O, BR-IG and BR-IP, ten or more rules each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from muster.skills.finance.invoice import AllowanceCharge, Invoice, InvoiceLine, VatBreakdown
from muster.skills.finance.money import cents
from muster.skills.finance.rules.rule import Breach, Rule
from muster.skills.finance.rules.sums import ZERO, total, vat_breach

Parties = Callable[[Invoice], bool]
Part = InvoiceLine | AllowanceCharge


@dataclass(frozen=True)
class Category:
    """What the standard asks of one VAT category."""

    prefix: str
    """Of the rules' ids."""
    code: str
    name: str
    rate: Literal["positive", "zero", "any", "none"]
    """What the rate of a line, allowance or charge must be."""
    parties: Parties
    """True when seller and buyer are identified as the category demands."""
    parties_message: str
    exempt: bool
    """True when a reason must be given why no VAT is charged; a reason is forbidden otherwise."""

    @property
    def taxed(self) -> bool:
        """True when VAT is charged, at rates of which there may be several."""
        return self.rate in ("positive", "any")


_KINDS = (("lines", "a line"), ("allowances", "an allowance"), ("charges", "a charge"))


def _parts(invoice: Invoice, kind: str, category: Category) -> Iterator[tuple[str, Part]]:
    for index, part in enumerate(getattr(invoice, kind)):
        if part.vat_category == category.code:
            yield f"{kind}[{index}]", part


def _breakdowns(invoice: Invoice, category: Category) -> Iterator[tuple[str, VatBreakdown]]:
    for index, part in enumerate(invoice.vat_breakdown):
        if part.category == category.code:
            yield f"vat_breakdown[{index}]", part


def _has_breakdown(category: Category) -> Rule:
    """Rule 01."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        used = any(True for kind, _ in _KINDS for _ in _parts(invoice, kind, category))
        count = sum(1 for _ in _breakdowns(invoice, category))
        if (used and count == 0) or (count > 1 and not category.taxed):
            yield Breach("vat_breakdown", {"count": count})

    wanted = "at least one" if category.taxed else "exactly one"
    message = f"{category.name} needs {wanted} entry in the VAT breakdown, and there are {{count}}."
    return Rule(f"BR-{category.prefix}-01", message, check)


def _parties_identified(category: Category, number: int, kind: str, noun: str) -> Rule:
    """Rules 02 to 04."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        if next(_parts(invoice, kind, category), None) and not category.parties(invoice):
            yield Breach("seller.vat_id")

    message = f"With {noun} under {category.name}, {category.parties_message}."
    return Rule(f"BR-{category.prefix}-{number:02}", message, check)


def _rate_fits(category: Category, number: int, kind: str) -> Rule:
    """Rules 05 to 07."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        for where, part in _parts(invoice, kind, category):
            if not _fits(category, part.vat_rate):
                yield Breach(f"{where}.vat_rate", {"path": where, "rate": part.vat_rate})

    wanted = {"positive": "above 0", "zero": "0", "any": "0 or above", "none": "absent"}[category.rate]
    message = f"{{path}} is under {category.name}, so its VAT rate must be {wanted}, not {{rate}}."
    return Rule(f"BR-{category.prefix}-{number:02}", message, check)


def _fits(category: Category, rate: Decimal | None) -> bool:
    if category.rate == "none":
        return rate is None
    if rate is None:
        return False
    return {"positive": rate > 0, "zero": rate == 0, "any": rate >= 0}[category.rate]


def _taxable_amount(category: Category) -> Rule:
    """Rule 08."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        for where, part in _breakdowns(invoice, category):
            expected = cents(_taxable(invoice, category, part.rate if category.taxed else None))
            if part.taxable_amount is not None:
                yield from vat_breach(f"{where}.taxable_amount", part.taxable_amount, expected)

    message = f"Lines, allowances and charges under {category.name} make {{expected}}, but {{path}} is {{found}}."
    return Rule(f"BR-{category.prefix}-08", message, check)


def _taxable(invoice: Invoice, category: Category, rate: Decimal | None) -> Decimal:
    def amounts(kind: str, field: str) -> Decimal:
        matching = (part for _, part in _parts(invoice, kind, category) if rate is None or part.vat_rate == rate)
        return total(getattr(part, field) for part in matching)

    return amounts("lines", "net_amount") - amounts("allowances", "amount") + amounts("charges", "amount")


def _tax_amount(category: Category) -> Rule:
    """Rule 09."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        for where, part in _breakdowns(invoice, category):
            if part.taxable_amount is None or part.tax_amount is None:
                continue
            rate = (part.rate or ZERO) if category.taxed else ZERO
            expected = cents(part.taxable_amount * rate / 100)
            yield from vat_breach(f"{where}.tax_amount", part.tax_amount, expected)

    message = f"Under {category.name} the VAT must be {{expected}}, but {{path}} is {{found}}."
    return Rule(f"BR-{category.prefix}-09", message, check)


def _exemption_reason(category: Category) -> Rule:
    """Rule 10."""

    def check(invoice: Invoice) -> Iterator[Breach]:
        for where, part in _breakdowns(invoice, category):
            if bool(part.exemption_reason or part.exemption_reason_code) != category.exempt:
                yield Breach(f"{where}.exemption_reason", {"path": where})

    verb = "must say" if category.exempt else "must not say"
    return Rule(
        f"BR-{category.prefix}-10", f"{{path}} is under {category.name} and {verb} why VAT is not charged.", check
    )


def _rules(category: Category) -> Iterator[Rule]:
    yield _has_breakdown(category)
    for offset, (kind, noun) in enumerate(_KINDS):
        yield _parties_identified(category, 2 + offset, kind, noun)
    for offset, (kind, _) in enumerate(_KINDS):
        yield _rate_fits(category, 5 + offset, kind)
    yield _taxable_amount(category)
    yield _tax_amount(category)
    yield _exemption_reason(category)


def _seller_vat(invoice: Invoice) -> bool:
    return bool(invoice.seller.vat_id or (invoice.tax_representative and invoice.tax_representative.vat_id))


def _seller_taxed(invoice: Invoice) -> bool:
    return _seller_vat(invoice) or bool(invoice.seller.tax_number)


def _reverse_charge(invoice: Invoice) -> bool:
    buyer = invoice.buyer
    return _seller_taxed(invoice) and bool(buyer.vat_id or buyer.legal_registration)


def _intra_community(invoice: Invoice) -> bool:
    return _seller_vat(invoice) and bool(invoice.buyer.vat_id)


def _no_vat_ids(invoice: Invoice) -> bool:
    return not _seller_vat(invoice) and not invoice.buyer.vat_id


_SELLER = "the seller needs a VAT id or tax number"
_SELLER_VAT = "the seller needs a VAT id"
_BOTH = "the seller needs a VAT id or tax number and the buyer a VAT id or legal registration"
_BOTH_VAT = "seller and buyer need a VAT id"
_NEITHER = "no party may give a VAT id"

CATEGORIES: tuple[Category, ...] = (
    Category("S", "S", "standard rate", "positive", _seller_taxed, _SELLER, exempt=False),
    Category("Z", "Z", "zero rate", "zero", _seller_taxed, _SELLER, exempt=False),
    Category("E", "E", "exempt from VAT", "zero", _seller_taxed, _SELLER, exempt=True),
    Category("AE", "AE", "reverse charge", "zero", _reverse_charge, _BOTH, exempt=True),
    Category("IC", "K", "intra-community supply", "zero", _intra_community, _BOTH_VAT, exempt=True),
    Category("G", "G", "export outside the EU", "zero", _seller_vat, _SELLER_VAT, exempt=True),
    Category("O", "O", "not subject to VAT", "none", _no_vat_ids, _NEITHER, exempt=True),
    Category("IG", "L", "IGIC", "any", _seller_taxed, _SELLER, exempt=False),
    Category("IP", "M", "IPSI", "any", _seller_taxed, _SELLER, exempt=False),
)
"""The standard's categories but B, which is Italy's own."""


def _supplied_when(invoice: Invoice) -> Iterator[Breach]:
    if (
        _uses_intra_community(invoice)
        and not (invoice.delivery and invoice.delivery.delivery_date)
        and not invoice.period
    ):
        yield Breach("delivery.delivery_date")


def _supplied_where(invoice: Invoice) -> Iterator[Breach]:
    address = invoice.delivery.address if invoice.delivery else None
    if _uses_intra_community(invoice) and not (address and address.country):
        yield Breach("delivery.address.country")


def _uses_intra_community(invoice: Invoice) -> bool:
    return any(part.category == "K" for part in invoice.vat_breakdown)


def _unmixed(kind: str, field: str) -> Callable[[Invoice], Iterator[Breach]]:
    def check(invoice: Invoice) -> Iterator[Breach]:
        if any(part.category == "O" for part in invoice.vat_breakdown):
            for index, part in enumerate(getattr(invoice, kind)):
                if getattr(part, field) not in (None, "O"):
                    yield Breach(f"{kind}[{index}].{field}", {"path": f"{kind}[{index}]"})

    return check


_MIXED = "An invoice not subject to VAT cannot have {path} under another category."

RULES: tuple[Rule, ...] = (
    *(rule for category in CATEGORIES for rule in _rules(category)),
    Rule("BR-IC-11", "An intra-community supply needs a delivery date or an invoicing period.", _supplied_when),
    Rule("BR-IC-12", "An intra-community supply needs the country of delivery.", _supplied_where),
    Rule("BR-O-11", _MIXED, _unmixed("vat_breakdown", "category")),
    Rule("BR-O-12", _MIXED, _unmixed("lines", "vat_category")),
    Rule("BR-O-13", _MIXED, _unmixed("allowances", "vat_category")),
    Rule("BR-O-14", _MIXED, _unmixed("charges", "vat_category")),
)
