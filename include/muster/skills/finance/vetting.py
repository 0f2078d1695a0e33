"""Everything that can be said about an invoice before anyone works on it, in one step."""

from __future__ import annotations

from muster.errors import SetAside
from muster.findings import Finding
from muster.skills.finance.duplicates import find_duplicates
from muster.skills.finance.invoice import CheckedInvoice, Invoice, ReadInvoice
from muster.skills.finance.ledger import postable_amounts
from muster.skills.finance.policy import Company, policy_of
from muster.skills.finance.rules import check_invoice
from muster.skills.finance.suppliers import Supplier, check_supplier, vat_key
from muster.skills.registry import SkillContext, skill


class VettedInvoice(CheckedInvoice):
    """An invoice that may be worked on: no rule is broken, the supplier is known, it is not a duplicate."""

    supplier: Supplier
    """The seller's master data."""
    doubts: list[Finding] = []
    """What a person should decide about before the invoice is posted."""


@skill("finance.vet_invoice", lane="worker")
def vet_invoice(invoice: ReadInvoice, context: SkillContext) -> VettedInvoice:
    """Check the rules of EN 16931, the supplier and the register of invoices; sort out what may not be paid.

    Raises:
        SetAside: a rule is broken, the supplier or its account is unknown, or the invoice is a duplicate.
    """
    checked = check_invoice(invoice, context=context)
    seller = check_supplier(invoice.invoice, context)
    findings = [*checked.findings, *seller.findings]
    findings += _wrong_buyer(invoice.invoice, policy_of(context.settings).company)
    if checked.ok:
        findings += _not_postable(invoice.invoice)
    if seller.ok and all(finding.severity != "error" for finding in findings):
        # Only sound invoices enter the register: the corrected one may come under the same number.
        findings += find_duplicates(invoice, context).findings
    # The standard's warnings are about form; ours are about money.
    doubts = [finding for finding in findings if finding.severity == "warning" and finding.rule.startswith("MU-")]
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors or seller.supplier is None:
        raise SetAside(" ".join(finding.message for finding in errors), findings)
    values = {name: getattr(checked, name) for name in ReadInvoice.model_fields if name != "findings"}
    return VettedInvoice(**values, findings=findings, ok=True, supplier=seller.supplier, doubts=doubts)


def _not_postable(invoice: Invoice) -> list[Finding]:
    try:
        postable_amounts(invoice)
    except SetAside as error:
        return list(error.findings)
    return []


def _wrong_buyer(invoice: Invoice, company: Company | None) -> list[Finding]:
    given = invoice.buyer.vat_id
    if company is None or company.vat_id is None or given is None or vat_key(given) == vat_key(company.vat_id):
        return []
    message = f"The invoice is made out to {invoice.buyer.name or 'another company'} ({given}), not to {company.name}."
    return [Finding(rule="MU-BUYER", message=message, severity="warning", path="buyer.vat_id")]
