"""Tells a document's format by its content and reads it."""

from __future__ import annotations

import hashlib

from muster.skills.finance.invoice import ReadInvoice
from muster.skills.finance.reading.source import refusal
from muster.skills.finance.reading.structured import read_xml

# A PDF may have some bytes before its header.
_HEADER_WITHIN = 1024
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def read_document(data: bytes, source: str) -> ReadInvoice:
    """The invoice in a document.

    Raises:
        SetAside: the document is no invoice that can be read.
    """
    if b"%PDF-" in data[:_HEADER_WITHIN]:
        from muster.skills.finance.reading.pdf import read_pdf

        return read_pdf(data, source)
    if data.lstrip().startswith((b"<", *_BYTE_ORDER_MARKS)) or data.startswith((b"<\x00", b"\x00<")):
        return read_xml_document(data, source)
    raise refusal("MU-FORMAT-UNKNOWN", f"{source} is neither XML nor PDF.", remedy="Ask the supplier for either.")


def read_xml_document(data: bytes, source: str) -> ReadInvoice:
    """The invoice in an XML document."""
    invoice, syntax, findings = read_xml(data)
    return ReadInvoice(
        invoice=invoice,
        source=source,
        format=syntax,
        sha256=hashlib.sha256(data).hexdigest(),
        profile=invoice.specification,
        findings=findings,
    )
