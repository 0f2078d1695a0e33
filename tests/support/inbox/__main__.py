"""Writes the files of the bundled inbox anew."""

from __future__ import annotations

import tempfile
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from support.inbox.invoices import INVOICES, Invoice

HERE = Path(__file__).parent
INBOX = HERE.parents[2] / "include" / "inbox" / "invoices"
CHROMIUM = Path("/usr/bin/chromium")
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def xml(invoice: Invoice, syntax: str) -> bytes:
    """The invoice as UBL or CII."""
    text = TEMPLATES.get_template(f"{syntax}.xml").render(i=invoice)
    return "\n".join(line for line in text.splitlines() if line.strip()).encode() + b"\n"


def pdf(invoice: Invoice) -> bytes:
    """The invoice as people see it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=CHROMIUM if CHROMIUM.exists() else None)
        page = browser.new_page()
        page.set_content(TEMPLATES.get_template("invoice.html").render(i=invoice))
        path = Path(folder) / "invoice.pdf"
        page.pdf(path=path, prefer_css_page_size=True)
        browser.close()
        return path.read_bytes()


def hybrid(invoice: Invoice) -> bytes:
    """The PDF with the CII inside it: Factur-X, profile EN 16931."""
    import facturx

    content: bytes = facturx.generate_from_binary(pdf(invoice), xml(invoice, "cii"), flavor="factur-x", level="en16931")
    return content


WRITERS = {
    "ubl": lambda invoice: xml(invoice, "ubl"),
    "cii": lambda invoice: xml(invoice, "cii"),
    "hybrid": hybrid,
    "pdf": pdf,
}

if __name__ == "__main__":
    INBOX.mkdir(parents=True, exist_ok=True)
    for invoice in INVOICES:
        (INBOX / invoice.file).write_bytes(WRITERS[invoice.format](invoice))
