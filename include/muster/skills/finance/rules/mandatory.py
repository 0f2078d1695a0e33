"""What an invoice must say: BR-01 to BR-65, and the conditions that tie one field to another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from muster.skills.finance.codes import COUNTRIES, CREDIT_TRANSFER_MEANS
from muster.skills.finance.invoice import Invoice
from muster.skills.finance.rules.rule import Breach, Rule, at, parts, required, satisfies, whole

_DOCUMENT = (
    required("BR-01", whole, "specification", message="The invoice does not name its specification (BT-24)."),
    required("BR-02", whole, "number", message="The invoice has no number (BT-1)."),
    required("BR-03", whole, "issue_date", message="The invoice has no issue date (BT-2)."),
    required("BR-04", whole, "type_code", message="The invoice has no type code (BT-3)."),
    required("BR-05", whole, "currency", message="The invoice names no currency (BT-5)."),
    required("BR-16", whole, "lines", message="The invoice has no line (BG-25)."),
    required("BR-CO-18", whole, "vat_breakdown", message="The invoice has no VAT breakdown (BG-23)."),
)

_PARTIES = (
    required("BR-06", parts("seller"), "name", message="The seller has no name (BT-27)."),
    required("BR-07", parts("buyer"), "name", message="The buyer has no name (BT-44)."),
    required("BR-08", parts("seller"), "address", message="The seller has no postal address (BG-5)."),
    required("BR-09", parts("seller.address"), "country", message="The seller's address has no country (BT-40)."),
    required("BR-10", parts("buyer"), "address", message="The buyer has no postal address (BG-8)."),
    required("BR-11", parts("buyer.address"), "country", message="The buyer's address has no country (BT-55)."),
    required("BR-17", parts("payee"), "name", message="The payee has no name (BT-59)."),
    required("BR-18", parts("tax_representative"), "name", message="The tax representative has no name (BT-62)."),
    required("BR-19", parts("tax_representative"), "address", message="The tax representative has no address (BG-12)."),
    required(
        "BR-20",
        parts("tax_representative.address"),
        "country",
        message="The tax representative's address has no country (BT-69).",
    ),
    required("BR-56", parts("tax_representative"), "vat_id", message="The tax representative has no VAT id (BT-63)."),
    required("BR-57", parts("delivery.address"), "country", message="The delivery address has no country (BT-80)."),
    required(
        "BR-62",
        parts("seller.electronic_address"),
        "scheme",
        message="The seller's electronic address has no scheme (BT-34).",
    ),
    required(
        "BR-63",
        parts("buyer.electronic_address"),
        "scheme",
        message="The buyer's electronic address has no scheme (BT-49).",
    ),
    required(
        "BR-CO-26",
        parts("seller"),
        "identifiers",
        "legal_registration",
        "vat_id",
        message="The seller has no identifier (BT-29), no legal registration (BT-30) and no VAT id (BT-31).",
    ),
)

_TOTALS = (
    required("BR-12", parts("totals"), "line_total", message="The sum of the lines (BT-106) is missing."),
    required("BR-13", parts("totals"), "net", message="The total without VAT (BT-109) is missing."),
    required("BR-14", parts("totals"), "gross", message="The total with VAT (BT-112) is missing."),
    required("BR-15", parts("totals"), "due", message="The amount due (BT-115) is missing."),
    required("BR-45", parts("vat_breakdown"), "taxable_amount", message="{path} has no taxable amount (BT-116)."),
    required("BR-46", parts("vat_breakdown"), "tax_amount", message="{path} has no VAT amount (BT-117)."),
    required("BR-47", parts("vat_breakdown"), "category", message="{path} has no VAT category (BT-118)."),
)

_LINES = (
    required("BR-21", parts("lines"), "id", message="{path} has no identifier (BT-126)."),
    required("BR-22", parts("lines"), "quantity", message="{path} has no quantity (BT-129)."),
    required("BR-23", parts("lines"), "unit", message="{path} has no unit (BT-130)."),
    required("BR-24", parts("lines"), "net_amount", message="{path} has no net amount (BT-131)."),
    required("BR-25", parts("lines.item"), "name", message="{path} has no name (BT-153)."),
    required("BR-26", parts("lines"), "net_price", message="{path} has no net price (BT-146)."),
    satisfies("BR-27", parts("lines"), "net_price", lambda price: price >= 0, "{path} has the negative price {value}."),
    satisfies(
        "BR-28", parts("lines"), "gross_price", lambda price: price >= 0, "{path} has the negative gross price {value}."
    ),
    required("BR-CO-04", parts("lines"), "vat_category", message="{path} has no VAT category (BT-151)."),
    required("BR-54", parts("lines.item.attributes"), "value", message="{path} has no value (BT-161)."),
    required("BR-54", parts("lines.item.attributes"), "name", message="{path} has no name (BT-160)."),
    required("BR-64", parts("lines.item.standard_id"), "scheme", message="{path} has no scheme (BT-157)."),
    required("BR-65", parts("lines.item.classifications"), "scheme", message="{path} has no scheme (BT-158)."),
)


def _reasoned(rule_id: str, path: str) -> Rule:
    return required(rule_id, parts(path), "reason", "reason_code", message="{path} gives no reason.")


_ALLOWANCES = (
    required("BR-31", parts("allowances"), "amount", message="{path} has no amount (BT-92)."),
    required("BR-32", parts("allowances"), "vat_category", message="{path} has no VAT category (BT-95)."),
    _reasoned("BR-33", "allowances"),
    required("BR-36", parts("charges"), "amount", message="{path} has no amount (BT-99)."),
    required("BR-37", parts("charges"), "vat_category", message="{path} has no VAT category (BT-102)."),
    _reasoned("BR-38", "charges"),
    required("BR-41", parts("lines.allowances"), "amount", message="{path} has no amount (BT-136)."),
    _reasoned("BR-42", "lines.allowances"),
    required("BR-43", parts("lines.charges"), "amount", message="{path} has no amount (BT-141)."),
    _reasoned("BR-44", "lines.charges"),
    _reasoned("BR-CO-21", "allowances"),
    _reasoned("BR-CO-22", "charges"),
    _reasoned("BR-CO-23", "lines.allowances"),
    _reasoned("BR-CO-24", "lines.charges"),
)

_PAYMENT = (
    required("BR-49", parts("payment"), "means_code", message="The payment instructions name no means (BT-81)."),
    required("BR-50", parts("payment.credit_transfers"), "account", message="{path} names no account (BT-84)."),
    satisfies(
        "BR-51",
        parts("payment.card"),
        "number",
        lambda number: len(re.sub(r"\D", "", number)) <= 10,
        "The card's number is shown in full.",
        severity="warning",
    ),
)

_OTHERS = (
    required("BR-52", parts("attachments"), "reference", message="{path} has no reference (BT-122)."),
    required("BR-55", parts("preceding_invoices"), "number", message="{path} has no number (BT-25)."),
    required("BR-CO-19", parts("period"), "start", "end", message="The invoicing period names no day."),
    required("BR-CO-20", parts("lines.period"), "start", "end", message="{path} names no day."),
)


def _rate_is_given(invoice: Invoice) -> Iterator[Breach]:
    for index, part in enumerate(invoice.vat_breakdown):
        if part.rate is None and part.category is not None and part.category != "O":
            yield Breach(f"vat_breakdown[{index}].rate", {"path": f"vat_breakdown[{index}]"})


def _period_in_order(path: str) -> Any:
    select = parts(path)

    def check(invoice: Invoice) -> Iterator[Breach]:
        for where, part in select(invoice):
            start, end = getattr(part, "start"), getattr(part, "end")  # noqa: B009
            if start and end and end < start:
                yield Breach(at(where, "end"), {"path": where, "start": start, "end": end})

    return check


def _tax_currency_amount(invoice: Invoice) -> Iterator[Breach]:
    foreign = invoice.tax_currency not in (None, invoice.currency)
    if foreign and invoice.totals.vat_accounting_currency is None:
        yield Breach("totals.vat_accounting_currency", {"currency": invoice.tax_currency})


def _transfer_has_account(invoice: Invoice) -> Iterator[Breach]:
    payment = invoice.payment
    if payment and payment.means_code in CREDIT_TRANSFER_MEANS and not any(t.account for t in payment.credit_transfers):
        yield Breach("payment.credit_transfers", {"code": payment.means_code})


def _one_tax_point(invoice: Invoice) -> Iterator[Breach]:
    if invoice.tax_point_date and invoice.tax_point_code:
        yield Breach("tax_point_code")


def _vat_ids_have_country(invoice: Invoice) -> Iterator[Breach]:
    for name in ("seller", "buyer", "tax_representative"):
        party = getattr(invoice, name)
        if party and party.vat_id and party.vat_id[:2] not in COUNTRIES | {"EL"}:
            yield Breach(f"{name}.vat_id", {"value": party.vat_id})


def _says_when_due(invoice: Invoice) -> Iterator[Breach]:
    due = invoice.totals.due
    if due is not None and due > 0 and invoice.due_date is None and invoice.payment_terms is None:
        yield Breach("due_date", {"due": due})


_PERIOD = "{path} ends on {end}, before it starts on {start}."

_CONDITIONS = (
    Rule("BR-29", _PERIOD, _period_in_order("period")),
    Rule("BR-30", _PERIOD, _period_in_order("lines.period")),
    Rule("BR-48", "{path} has no VAT rate (BT-119).", _rate_is_given),
    Rule("BR-53", "VAT is accounted in {currency}, but its amount there (BT-111) is missing.", _tax_currency_amount),
    Rule("BR-61", "Payment means {code} is a credit transfer, but no account (BT-84) is named.", _transfer_has_account),
    Rule("BR-CO-03", "Both a tax point date (BT-7) and a tax point code (BT-8) are given.", _one_tax_point),
    Rule("BR-CO-09", "The VAT id {value} does not begin with a country.", _vat_ids_have_country),
    Rule("BR-CO-25", "{due} is due, but neither a due date (BT-9) nor payment terms (BT-20) say when.", _says_when_due),
)

RULES: tuple[Rule, ...] = (
    *_DOCUMENT, *_PARTIES, *_TOTALS, *_LINES, *_ALLOWANCES, *_PAYMENT, *_OTHERS, *_CONDITIONS,
)  # fmt: skip
