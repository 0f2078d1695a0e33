"""Whether the supplier is one we know, and the account to pay to the one we know."""

from __future__ import annotations

import re
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import BaseModel, ConfigDict

from muster.findings import Finding
from muster.skills.finance.invoice import Invoice
from muster.skills.registry import SkillContext, skill

MatchedBy = Literal["vat_id", "iban", "name"]


class Supplier(BaseModel):
    """A supplier's master data."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    vat_id: str | None = None
    currency: str
    """ISO 4217: the currency agreed on."""
    payment_days: int
    """Days from the invoice's date until it is due, when the invoice does not say."""
    cost_centre: str | None = None
    """Where its invoices go when nothing else is known."""
    order_required: bool
    """Whether an invoice must name a purchase order."""
    blocked: bool
    ibans: list[str] = []
    """The accounts it may be paid on."""


class SupplierCheck(BaseModel):
    """Who the seller is to us, and what does not fit."""

    supplier: Supplier | None
    matched_by: MatchedBy | None
    """What the seller was recognised by."""
    findings: list[Finding]
    ok: bool
    """True when no finding is an error."""


@skill("finance.check_supplier", lane="worker")
def check_supplier(invoice: Invoice, context: SkillContext) -> SupplierCheck:
    """Find the seller in the master data and compare VAT id, account and currency with it."""
    with context.database.connection() as connection:
        supplier, matched_by = find_supplier(connection, invoice)
    findings = _unknown(invoice) if supplier is None else _differences(invoice, supplier)
    return SupplierCheck(
        supplier=supplier,
        matched_by=matched_by,
        findings=findings,
        ok=all(finding.severity != "error" for finding in findings),
    )


_CONDITIONS: dict[MatchedBy, str] = {
    "vat_id": "vat_id = ANY(%s)",
    "iban": """id = (SELECT min(supplier_id) FROM finance.supplier_accounts WHERE iban = ANY(%s)
                    HAVING count(DISTINCT supplier_id) = 1)""",
    "name": """lower(regexp_replace(normalize(name, NFKC), '\\W', '', 'g')) IN
               (SELECT lower(regexp_replace(normalize(n, NFKC), '\\W', '', 'g')) FROM unnest(%s::text[]) n)""",
}


def find_supplier(connection: Connection[Any], invoice: Invoice) -> tuple[Supplier | None, MatchedBy | None]:
    """The supplier by VAT id, else by an account, else by a name that is only theirs; and which of them it was."""
    seller = invoice.seller
    known_by: dict[MatchedBy, list[str]] = {
        "vat_id": [vat_key(seller.vat_id)] if seller.vat_id else [],
        "iban": invoice.ibans,
        "name": [name for name in (seller.name, seller.trading_name) if name],
    }
    for matched_by, values in known_by.items():
        if values and (supplier := _select(connection, _CONDITIONS[matched_by], values)) is not None:
            return supplier, matched_by
    return None, None


def vat_key(vat_id: str) -> str:
    """A VAT id as master data hold it: capitals and digits only."""
    return re.sub(r"[^A-Z0-9]", "", vat_id.upper())


def _select(connection: Connection[Any], condition: str, values: list[str]) -> Supplier | None:
    query = f"""
        SELECT s.*, array(SELECT iban FROM finance.supplier_accounts a WHERE a.supplier_id = s.id ORDER BY since, iban)
               AS ibans
          FROM finance.suppliers s WHERE {condition} LIMIT 2"""
    rows = connection.cursor(row_factory=dict_row).execute(query, (values,)).fetchall()
    # A sign that two suppliers share tells neither.
    return Supplier.model_validate(rows[0]) if len(rows) == 1 else None


def _unknown(invoice: Invoice) -> list[Finding]:
    from muster.skills.finance.rules.parties import is_vat_id

    seller = invoice.seller
    message = (
        f"The seller {seller.name or 'without a name'} ({seller.vat_id or 'no VAT id'}) is not a supplier we know."
    )
    findings = [Finding(rule="MU-SUPPLIER-UNKNOWN", message=message, path="seller")]
    if seller.vat_id and not is_vat_id(seller.vat_id):
        findings.append(
            Finding(
                rule="MU-SUPPLIER-VAT",
                message=f"{seller.vat_id} is not a VAT id that can exist: its check digit is wrong.",
                path="seller.vat_id",
            )
        )
    return findings


def _differences(invoice: Invoice, supplier: Supplier) -> list[Finding]:
    return [
        finding
        for finding in (
            _blocked(supplier),
            _vat_differs(invoice, supplier),
            _account_differs(invoice, supplier),
            _currency_differs(invoice, supplier),
            _payee_differs(invoice, supplier),
        )
        if finding is not None
    ]


def _blocked(supplier: Supplier) -> Finding | None:
    if not supplier.blocked:
        return None
    return Finding(rule="MU-SUPPLIER-BLOCKED", message=f"{supplier.name} is blocked in the master data.", path="seller")


def _vat_differs(invoice: Invoice, supplier: Supplier) -> Finding | None:
    given = invoice.seller.vat_id
    if given is None or supplier.vat_id is None or vat_key(given) == vat_key(supplier.vat_id):
        return None
    return Finding(
        rule="MU-SUPPLIER-VAT",
        message=f"The invoice gives the VAT id {given}, the master data of {supplier.name} {supplier.vat_id}.",
        path="seller.vat_id",
    )


def _account_differs(invoice: Invoice, supplier: Supplier) -> Finding | None:
    strange = [iban for iban in invoice.ibans if iban not in supplier.ibans]
    if not strange:
        return None
    # A changed account is the commonest invoice fraud, so it stops the invoice until master data is changed.
    message = (
        f"The invoice asks to be paid on {', '.join(strange)}, an account we do not know of {supplier.name}. "
        "Call the supplier on a number you already have before changing the master data."
    )
    return Finding(rule="MU-IBAN-CHANGED", message=message, path="payment.credit_transfers")


def _currency_differs(invoice: Invoice, supplier: Supplier) -> Finding | None:
    if invoice.currency in (None, supplier.currency):
        return None
    return Finding(
        rule="MU-CURRENCY",
        message=f"The invoice is in {invoice.currency}, but {supplier.currency} is agreed with {supplier.name}.",
        path="currency",
    )


def _payee_differs(invoice: Invoice, supplier: Supplier) -> Finding | None:
    payee = invoice.payee.name if invoice.payee else None
    if payee is None or payee == invoice.seller.name:
        return None
    return Finding(
        rule="MU-PAYEE",
        message=f"{payee} is to be paid instead of {supplier.name}.",
        severity="warning",
        path="payee.name",
    )
