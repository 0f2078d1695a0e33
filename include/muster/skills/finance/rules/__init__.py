"""Checking an invoice: the rules of EN 16931 by their own ids, and some of ours."""

from __future__ import annotations

from muster.skills.finance.invoice import CheckedInvoice, Currency, ReadInvoice
from muster.skills.registry import SkillContext, skill


@skill("finance.check_invoice")
def check_invoice(
    invoice: ReadInvoice, *, expected_currency: Currency | None = None, context: SkillContext
) -> CheckedInvoice:
    """Check an invoice against EN 16931 and our own rules; every breach becomes a finding."""
    from muster.skills.finance.rules.catalogue import check

    breaches = check(invoice, today=context.now.date(), expected_currency=expected_currency)
    findings = [*invoice.findings, *breaches]
    ok = not any(finding.severity == "error" for finding in findings)
    fields = {name: getattr(invoice, name) for name in ReadInvoice.model_fields}
    return CheckedInvoice(**{**fields, "findings": findings, "ok": ok})
