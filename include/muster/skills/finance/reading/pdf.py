"""PDFs: opened safely, read from the XML inside where there is one, else from the text."""

from __future__ import annotations

import hashlib
import io
import logging
from typing import Any

import pdfplumber
from pypdf import PdfReader
from pypdf.errors import LimitReachedError, PyPdfError

from muster.skills.finance.invoice import ReadInvoice
from muster.skills.finance.reading.hybrid import compare, embedded_xml
from muster.skills.finance.reading.plain.document import confidence, read_plain
from muster.skills.finance.reading.plain.layout import Page
from muster.skills.finance.reading.source import MAX_BYTES, refusal
from muster.skills.finance.reading.structured import read_xml

_PARSER_ERRORS = (
    *(PyPdfError, NotImplementedError, ValueError, TypeError, KeyError, AttributeError, IndexError, OSError),
    RecursionError,
)
"""What pypdf raises for a broken file."""
MAX_PAGES = 20
"""Pages beyond these are not looked at: an invoice's totals come before its annexes."""
_LEAST_LETTERS = 20
"""With fewer letters than this a PDF is a picture."""


def read_pdf(data: bytes, source: str) -> ReadInvoice:
    """The invoice in a PDF.

    Raises:
        SetAside: the PDF is damaged, encrypted, or has neither an invoice inside nor text.
    """
    xml = _embedded(data)
    digest = hashlib.sha256(data).hexdigest()
    if xml is not None:
        invoice, _, findings = read_xml(xml)
        page = _page(data, needed=False)
        return ReadInvoice(
            invoice=invoice,
            source=source,
            format="hybrid",
            sha256=digest,
            profile=invoice.specification,
            findings=[*findings, *compare(invoice, page.text)],
        )
    page = _page(data, needed=True)
    invoice, not_found = read_plain(page)
    return ReadInvoice(
        invoice=invoice,
        source=source,
        format="pdf",
        sha256=digest,
        confidence=confidence(not_found),
        not_found=not_found,
    )


def _embedded(data: bytes) -> bytes | None:
    try:
        reader = PdfReader(io.BytesIO(data))
        # Many PDFs are encrypted only against editing and open with the empty password.
        if reader.is_encrypted and not reader.decrypt(""):
            raise refusal("MU-PDF-ENCRYPTED", "The PDF is encrypted.", remedy="Ask for a copy without password.")
        if not reader.pages:
            raise refusal("MU-PDF-DAMAGED", "The PDF has no pages.")
        _refuse_bomb(reader)
        return embedded_xml(reader)
    except LimitReachedError as error:
        raise refusal("MU-PDF-TOO-LARGE", f"The PDF unpacks to more than it may: {error}.") from error
    except _PARSER_ERRORS as error:
        raise refusal("MU-PDF-DAMAGED", f"The PDF is damaged: {error}.") from error


def _refuse_bomb(reader: PdfReader) -> None:
    """Unpack the pages with pypdf, which stops at a limit, before pdfplumber unpacks them without one."""
    size = 0
    for page in reader.pages[:MAX_PAGES]:
        contents = page.get_contents()
        size += len(contents.get_data()) if contents is not None else 0
        if size > MAX_BYTES:
            raise refusal("MU-PDF-TOO-LARGE", f"The PDF's pages unpack to more than {MAX_BYTES // 1024**2} MB.")


def _page(data: bytes, *, needed: bool) -> Page:
    """The text of the first pages, as far as it can be read."""
    # The parser reports every oddity of a file at warning level, and real PDFs are full of them.
    logging.getLogger("pdfminer").setLevel(logging.ERROR)
    try:
        words = _words(data)
    except Exception as error:  # pdfplumber raises nearly anything for a broken file.
        if needed:
            raise refusal("MU-PDF-DAMAGED", f"The PDF's text cannot be read: {error}.") from error
        return Page([])
    page = Page(words)
    if needed and sum(letter.isalnum() for letter in page.text) < _LEAST_LETTERS:
        raise refusal(
            "MU-PDF-NO-TEXT",
            "The PDF has no text; it is a picture.",
            remedy="Ask for an e-invoice or scan it with OCR.",
        )
    return page


def _words(data: bytes) -> list[list[dict[str, Any]]]:
    with pdfplumber.open(io.BytesIO(data)) as document:
        pages = []
        for page in document.pages[:MAX_PAGES]:
            pages.append(page.extract_words(x_tolerance_ratio=0.15))
            page.close()
        return pages
