"""Whether an invoice has been here before, as the same document or as another that claims the same."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Literal

from pydantic import BaseModel, ConfigDict

from muster.findings import Finding, Severity
from muster.skills.finance.invoice import CheckedInvoice, ReadInvoice
from muster.skills.finance.register import (
    Registered,
    file_name,
    number_key,
    receiver,
    register,
    similar,
    take_over_from,
)
from muster.skills.finance.suppliers import find_supplier
from muster.skills.registry import SkillContext, skill

Kind = Literal["same_number", "same_file", "similar_number", "same_amount"]

SIMILAR = 0.8
"""From this ratio of matching characters on, two numbers are taken for variants of one."""


class Duplicate(BaseModel):
    """Another invoice that is, or may be, the same."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    number: str
    source: str
    run: str
    """The run that received it."""
    posting: int | None
    """Its posting in the ledger; None while it is not posted."""


class DuplicateCheck(BaseModel):
    """What the register of invoices knows about this one."""

    duplicates: list[Duplicate]
    findings: list[Finding]
    ok: bool
    """True when no finding is an error."""


@skill("finance.find_duplicates", lane="worker")
def find_duplicates(invoice: CheckedInvoice | ReadInvoice, context: SkillContext) -> DuplicateCheck:
    """Enter the invoice in the register and compare it with those already there.

    An invoice of the same supplier and number, or the same file, is an error when the other is posted or is another
    item of this run. Likeness in number, or in amount and date, is a warning for a person to judge. A duplicate is
    not entered, nor is an invoice tried by hand or one of an unknown supplier.

    Raises:
        SetAside: the invoice lacks a number, a date, a gross amount or a currency.
    """
    with context.database.connection() as connection:
        supplier, _ = find_supplier(connection, invoice.invoice)
        if supplier is None:
            return DuplicateCheck(duplicates=[], findings=[], ok=True)
        by = receiver(context)
        entry, is_new = register(connection, invoice, supplier.id, by)
        likenesses = [] if is_new or entry.received_by == by else [_same_number(entry, invoice, context)]
        others = similar(connection, invoice, supplier.id)
        likenesses += [likeness for other in others if (likeness := _likeness(other, invoice, context)) is not None]
        ok = all(finding.severity != "error" for _, finding in likenesses)
        if ok and not context.run.startswith("try/"):
            take_over_from(connection, entry, invoice, by)
        else:
            # The row that `register` inserted must not stay: the next copy would be a duplicate of this one.
            connection.rollback()
    return DuplicateCheck(
        duplicates=[duplicate for duplicate, _ in likenesses], findings=[finding for _, finding in likenesses], ok=ok
    )


def _same_number(entry: Registered, read: ReadInvoice, context: SkillContext) -> tuple[Duplicate, Finding]:
    here = entry.received_in == context.run
    if entry.posting_id is not None:
        severity: Severity = "error"
        fate = f"is already in the ledger as posting {entry.posting_id}"
    elif here:
        severity, fate = "error", f"is also in this run, as {file_name(entry.source)}"
    else:
        # The same file again is how a person retries; another file under an old number deserves a look.
        severity = "information" if entry.sha256 == read.sha256 else "warning"
        fate = f"was received before, by {entry.received_in}, and not posted"
    finding = Finding(rule="MU-DUPLICATE", message=f"Invoice {entry.number} {fate}.", severity=severity, path="number")
    return _duplicate(entry, "same_number"), finding


def _likeness(entry: Registered, read: ReadInvoice, context: SkillContext) -> tuple[Duplicate, Finding] | None:
    invoice = read.invoice
    ratio = SequenceMatcher(None, number_key(invoice.number or ""), number_key(entry.number), autojunk=False).ratio()
    if entry.sha256 == read.sha256:
        kind: Kind = "same_file"
        certain = entry.posting_id is not None or entry.received_in == context.run
        message = f"The same file was received as invoice {entry.number}."
    elif entry.gross == invoice.totals.gross and entry.issue_date == invoice.issue_date:
        if ratio < SIMILAR:
            return None
        kind, certain = "same_amount", False
        message = f"Invoice {entry.number} has the same amount and date and a similar number."
    else:
        kind, certain = "similar_number", False
        message = f"Invoice {entry.number} differs in number only by punctuation."
    severity: Severity = "error" if certain else "warning"
    finding = Finding(rule="MU-DUPLICATE", message=message, severity=severity, path="number")
    return _duplicate(entry, kind), finding


def _duplicate(entry: Registered, kind: Kind) -> Duplicate:
    return Duplicate(
        kind=kind, number=entry.number, source=entry.source, run=entry.received_in, posting=entry.posting_id
    )
