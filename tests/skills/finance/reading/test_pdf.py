"""Plain and hybrid PDFs: every field is right or marked as not found, and both halves of a hybrid agree."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from facturx import generate_from_binary
from fpdf import FPDF

from muster.skills.finance.invoice import Invoice, ReadInvoice
from muster.skills.finance.reading.document import read_document
from support.invoices import example, supplier_pdfs
from support.printed_invoices import LAYOUTS, LOCALES, printed

ALIASES = {
    "amount": "totals.gross",
    "amount_untaxed": "totals.net",
    "currency": "currency",
    "date": "issue_date",
    "invoice_number": "number",
    "issuer": "seller.name",
    "vat": "seller.vat_id",
    "iban": "iban",
}
"""What the truth beside the real PDFs calls our fields."""


def value_at(invoice: Invoice, path: str) -> Any:
    if path == "iban":
        return invoice.ibans[0] if invoice.ibans else None
    value: Any = invoice
    for name in path.split("."):
        value = getattr(value, name)
    return value


def verdict(invoice: Invoice, path: str, truth: Any) -> str:
    found = value_at(invoice, path)
    if found is None:
        return "not found"
    return "right" if _same(found, truth) else "wrong"


def _same(found: Any, truth: Any) -> bool:
    """Equal; in text a number sign, spaces, and the legal form after a name do not count."""
    if isinstance(found, Decimal):
        return found == Decimal(str(truth))
    if isinstance(found, date):
        return found.isoformat() == str(truth)
    found, truth = (str(value).replace(" ", "").replace("#", "").casefold() for value in (found, truth))
    return found == truth or found.removeprefix(truth) in (",inc.", "inc.")


def test_every_field_of_a_real_invoice_is_right_or_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    counts: dict[str, Counter[str]] = {}
    for path in supplier_pdfs():
        read = read_document(path.read_bytes(), path.name)
        for name, truth in json.loads(path.with_suffix(".json").read_text())[0].items():
            if name in ALIASES:
                outcome = verdict(read.invoice, ALIASES[name], truth)
                counts.setdefault(name, Counter())[outcome] += 1
                assert outcome != "wrong", f"{path.name}: {name} is {truth}"
    with capsys.disabled():
        for name, count in counts.items():
            print(
                f"\n  {name}: {count['right']} right, {count['not found']} not found, {count['wrong']} wrong",
                end="",
            )
    found = sum(count["right"] for count in counts.values())
    assert counts["invoice_number"]["right"] == counts["date"]["right"] == 7
    assert found >= 37


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("country", LOCALES)
def test_every_field_of_a_printed_invoice_is_right_or_not_found(country: str, layout: str) -> None:
    counts: Counter[str] = Counter()
    for seed in range(2):
        sample = printed(seed, country, layout)
        read = read_document(sample.pdf, "test")
        for path, truth in sample.truth.items():
            found = value_at(read.invoice, path)
            assert found in (None, truth), f"seed {seed}: {path}"
            counts["found"] += found is not None
            counts["wanted"] += truth is not None
    # A reader that finds nothing is never wrong either.
    least = 0.4 if country == "us" or layout == "bare" else 0.7
    assert counts["found"] >= counts["wanted"] * least


def test_a_page_with_two_invoices_names_neither() -> None:
    page = "Invoice number: A-100\nInvoice date: 3 May 2026\n\nInvoice number: A-200\nInvoice date: 9 May 2026\n"
    read = read_document(a_page(page), "test")
    assert read.invoice.number is None
    assert read.invoice.issue_date is None
    assert {"number", "issue_date"} <= set(read.not_found)


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("Invoice date: 03/04/2026", None),
        ("Invoice date: 13/04/2026", date(2026, 4, 13)),
        ("Invoice date: 04/13/2026", date(2026, 4, 13)),
        ("Invoice date: 03/04/2026\nDue date: 17/04/2026", date(2026, 4, 3)),
        ("Invoice date: 03/04/2026\nDue date: 04/17/2026", date(2026, 3, 4)),
        ("Rechnungsdatum: 03/04/2026", date(2026, 4, 3)),
        ("Invoice date: 2026-04-03", date(2026, 4, 3)),
        ("Invoice date: April 3rd, 2026", date(2026, 4, 3)),
        ("Invoice date: 3 April 2026", date(2026, 4, 3)),
        ("Date de facture : 1er avril 2026", date(2026, 4, 1)),
        ("Fecha de factura: 3 de abril de 2026", date(2026, 4, 3)),
        ("Rechnungsdatum: 3. März 2026", date(2026, 3, 3)),
        ("Invoice date: 31 April 2026", None),
        ("Order date: 3 April 2026", None),
        ("Date  Service  Amount\n3 April 2026  Cleaning  10.00", None),
    ],
)
def test_a_date_that_could_be_two_days_is_not_found(written: str, day: date | None) -> None:
    read = read_document(a_page(written), "test")
    assert read.invoice.issue_date == day


@pytest.mark.parametrize(
    ("written", "gross", "net"),
    [
        ("Subtotal: 100.00\nVAT 20%: 20.00\nTotal: 120.00", "120.00", "100.00"),
        ("Subtotal: 100.00\nVAT 20%: 20.00\nTotal: 130.00", None, None),
        ("Subtotal: 100.00\nVAT 20%: 20.00\nGrand total: 130.00", None, None),
        ("Total: 100.00\nVAT 20%: 20.00\nAmount payable: 120.00", "120.00", "100.00"),
        ("Total: 120.00\nincluding 20% VAT: 20.00", "120.00", "100.00"),
        ("Total: 100.00\nplus 20% VAT: 20.00", None, None),
        ("Total HT : 1 234,50 €\nTVA 20 % : 246,90 €\nTotal TTC : 1 481,40 €", "1481.40", "1234.50"),
        ("Zwischensumme 1'000.00\nMwSt. 8.1% 81.00\nRechnungsbetrag 1'081.00", "1081.00", "1000.00"),
        ("Grand total: 119.00\nGrand total: 120.00", None, None),
        ("Total: 80.00\nInsured up to 500.00", None, None),
        ("Total hours: 80.00", None, None),
    ],
)
def test_totals_are_believed_only_when_they_agree(written: str, gross: str | None, net: str | None) -> None:
    totals = read_document(a_page(written), "test").invoice.totals
    assert (totals.gross, totals.net) == tuple(Decimal(value) if value else None for value in (gross, net))


@pytest.mark.parametrize(
    ("written", "currency"),
    [
        ("Grand total: $100.00", None),
        ("Grand total: US$100.00", "USD"),
        ("Grand total: $100.00\nAll prices in Canadian dollars", "CAD"),
        ("Grand total: $100.00\nA fee of 40 € is due when late", None),
        ("Grand total: 100.00 EUR", "EUR"),
        ("Summa: 100,00 kr\nGrand total: 100,00 kr", None),
        ("Grand total: 100,00 SEK", "SEK"),
        ("Grand total: CHF 1'100.00\nEUR 1'150.00", "CHF"),
    ],
)
def test_a_currency_sign_of_several_countries_is_no_currency(written: str, currency: str | None) -> None:
    assert read_document(a_page(written), "test").invoice.currency == currency


def test_the_buyers_numbers_are_not_the_sellers() -> None:
    page = (
        "Bill To\nBuyer GmbH\nRing 1\nDE136695976\n\n\nInvoice number: 7\n"
        "Your VAT id: DE136695976\nThe amount is debited from your account\nIBAN DE89370400440532013000\n"
    )
    invoice = read_document(a_page(page), "test").invoice
    assert invoice.seller.vat_id is None
    assert invoice.payment is None
    assert invoice.seller.name is None


def test_a_vat_id_in_the_buyers_address_is_not_the_sellers() -> None:
    buyer = "Bill To\nBuyer GmbH\nRing 1\nDE136695976\n\n\n"
    page = f"{buyer}Invoice number: 7\nPlease pay to\nIBAN DE89370400440532013000\n"
    invoice = read_document(a_page(page), "test").invoice
    assert invoice.ibans == ["DE89370400440532013000"]
    assert invoice.seller.vat_id is None


def test_a_company_with_one_sign_only_is_not_the_supplier() -> None:
    page = "Invoice number: 7\n\nDelivered by Fastship Parcels Ltd on Monday"
    assert read_document(a_page(page), "test").invoice.seller.name is None


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("2022089083", "2022089083"),
        ("2022 089083", None),
        ("R-1 dated 3 May", "R-1"),
        ("3 May 2026", None),
        ("none", None),
    ],
)
def test_a_number_that_may_be_torn_in_two_is_not_found(written: str, number: str | None) -> None:
    assert read_document(a_page(f"Invoice number: {written}"), "test").invoice.number == number


def a_page(text: str) -> bytes:
    """A page of text; two spaces begin a new column."""
    pdf = FPDF()
    pdf.core_fonts_encoding = "windows-1252"
    pdf.add_page()
    pdf.set_font("helvetica", size=10)
    for row, line in enumerate(f"A page of words so that it has some text\n\n{text}".splitlines()):
        for column, cell in enumerate(line.split("  ")):
            pdf.text(15 + 60 * column, 20 + 7 * row, cell)
    return bytes(pdf.output())


def hybrid(case: str, page: bytes) -> tuple[ReadInvoice, ReadInvoice]:
    """A hybrid made by factur-x from an example's XML, read, and the XML read on its own."""
    xml = example(case, "uncefact").read_bytes()
    made = generate_from_binary(page, xml, flavor="factur-x", level="en16931", check_xsd=False, check_schematron=False)
    return read_document(made, "test"), read_document(xml, "test")


@pytest.mark.parametrize("case", ["01.01a", "01.04a", "01.15a", "03.01a", "03.07a"])
def test_a_hybrid_agrees_with_its_xml(case: str) -> None:
    read, xml = hybrid(case, a_page("See the enclosed invoice, of which this is the cover."))
    assert read.format == "hybrid"
    assert read.invoice == xml.invoice
    assert read.profile == xml.profile
    assert read.sha256 != xml.sha256
    assert read.findings == []


def test_a_hybrid_whose_page_shows_the_same_has_no_finding() -> None:
    read, _ = hybrid("01.15a", a_page("Rechnung 0000123456\nGesamtbetrag: 10.686,20 EUR"))
    assert read.findings == []


@pytest.mark.parametrize(
    ("page", "path"),
    [
        ("Rechnung 0000123456\nGesamtbetrag: 686,20 EUR", "totals.gross"),
        ("Rechnung 0000999999\nGesamtbetrag: 10.686,20 EUR", "number"),
    ],
)
def test_a_hybrid_whose_page_shows_something_else_is_found_out(page: str, path: str) -> None:
    read, _ = hybrid("01.15a", a_page(page))
    assert [(finding.rule, finding.path) for finding in read.findings] == [("MU-HYBRID-DISAGREES", path)]
