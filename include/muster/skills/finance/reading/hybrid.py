"""Hybrid invoices (Factur-X, ZUGFeRD): the XML inside a PDF, and whether it agrees with what people see."""

from __future__ import annotations

import re

from pypdf import PdfReader

from muster.findings import Finding
from muster.skills.finance.invoice import Invoice
from muster.skills.finance.reading.plain.amounts import amounts_in
from muster.skills.finance.reading.source import MAX_BYTES, refusal

NAMES = frozenset({"factur-x.xml", "zugferd-invoice.xml", "xrechnung.xml"})
"""File names under which the standards embed the invoice, in lower case."""


def embedded_xml(reader: PdfReader) -> bytes | None:
    """The embedded invoice; None when there is none.

    Raises:
        SetAside: it is larger than an invoice may be.
    """
    for name, contents in reader.attachments.items():
        if name.lower() in NAMES and contents:
            if len(contents[0]) > MAX_BYTES:
                raise refusal("MU-FILE-TOO-LARGE", f"The embedded {name} is larger than {MAX_BYTES // 1024**2} MB.")
            return contents[0]
    return None


def compare(invoice: Invoice, text: str) -> list[Finding]:
    """What the XML says and the page does not show: the number, and the total or the amount due.

    A page without amounts is not compared: it may be a cover sheet or a picture.
    """
    visible = set(map(abs, amounts_in(text)))
    if not visible:
        return []
    findings = []
    stated = [amount for amount in (invoice.totals.gross, invoice.totals.due) if amount is not None]
    if stated and not visible & set(map(abs, stated)):
        message = f"The XML inside the PDF says {stated[0]} {invoice.currency or ''}, which the page shows nowhere."
        findings.append(Finding(rule="MU-HYBRID-DISAGREES", message=message, path="totals.gross"))
    if invoice.number and _bare(invoice.number) not in _bare(text):
        message = f"The XML inside the PDF has the number {invoice.number}, which the page shows nowhere."
        findings.append(Finding(rule="MU-HYBRID-DISAGREES", message=message, path="number"))
    return findings


def _bare(text: str) -> str:
    return re.sub(r"\s", "", text).casefold()
