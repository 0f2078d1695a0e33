"""UBL and CII: every official example is read from both syntaxes to the same invoice."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from lxml import etree

from muster.errors import SetAside
from muster.skills.finance.invoice import Invoice
from muster.skills.finance.reading.structured import read_xml
from support.invoices import CASES, EXAMPLES, example, from_example

REAL_DIFFERENCES: dict[str, dict[str, tuple[Any, Any]]] = {
    "01.21a": {
        "payment.means_text": ("Information", "Rechnung"),
        "seller.vat_id": ("DE 123456789", "DE152338654"),
        "totals.allowance_total": (None, Decimal("0.00")),
        "vat_breakdown[0].exemption_reason": (
            "Umkehrung der Steuerschuldnerschaft",
            "als gemeinnützig anerkannt",
        ),
    },
    "03.01a": {"buyer.trading_name": ("[Buyer name]", None)},
    "03.06a": {
        "seller.address.city": ("12345", "Testhausen"),
        "seller.address.postal_code": ("Testhausen", "12345"),
        "buyer.address.city": ("12345", "Testhausen"),
        "buyer.address.postal_code": ("Testhausen", "12345"),
    },
    "03.07a": {
        "payee.legal_registration": (
            None,
            {"value": "90000000-03083-72", "scheme": "0204", "scheme_version": None},
        ),
        "seller.identifiers": (
            [{"value": "987654321", "scheme": "0088", "scheme_version": None}],
            [
                {"value": "9876543217894897438", "scheme": None, "scheme_version": None},
                {"value": "748387437438", "scheme": None, "scheme_version": None},
                {"value": "987654321", "scheme": "0088", "scheme_version": None},
            ],
        ),
        "totals.rounding": (None, Decimal(0)),
    },
}
"""Where the two files of an example say different things themselves: in UBL, in CII."""


@pytest.mark.parametrize("case", CASES)
def test_both_syntaxes_give_the_same_invoice(case: str) -> None:
    ubl, cii = from_example(case, "ubl"), from_example(case, "uncefact")
    expected = REAL_DIFFERENCES.get(case, {})
    assert _differences(ubl.model_dump(), cii.model_dump(), expected) == expected
    if not expected:
        assert ubl == cii


@pytest.mark.parametrize(("case", "syntax"), EXAMPLES)
def test_every_amount_of_an_example_adds_up(case: str, syntax: str) -> None:
    invoice, _, findings = read_xml(example(case, syntax).read_bytes())
    sums = invoice.totals
    zero = Decimal(0)
    assert findings == []
    assert sum((line.net_amount or zero for line in invoice.lines), zero) == sums.line_total
    assert (sums.net or zero) + (sums.vat or zero) == sums.gross
    assert (sums.gross or zero) - (sums.prepaid or zero) + (sums.rounding or zero) == sums.due


@pytest.mark.parametrize(("case", "syntax"), EXAMPLES)
def test_nothing_written_in_an_example_is_lost(case: str, syntax: str) -> None:
    """Every value of the file is somewhere in the invoice, but for those listed as syntax only."""
    data = example(case, syntax).read_bytes()
    invoice = read_xml(data)[0]
    known = set(_leaves(invoice.model_dump()))
    numbers = {Decimal(value) for value in known if isinstance(value, Decimal)}
    for element in etree.fromstring(data).iter(tag=etree.Element):
        text = (element.text or "").strip()
        name = etree.QName(element).localname
        if not text or len(element) or name in SYNTAX_ONLY or _is_object_type(element, name):
            continue
        assert _is_kept(text, known, numbers), f"{element.getroottree().getpath(element)} = {text[:60]!r}"


SYNTAX_ONLY = {
    "ChargeIndicator",  # becomes allowances or charges
    "Indicator",
    "NetworkID",  # of a card: the syntax demands it, the standard has no term for it
    "EmbeddedDocumentBinaryObject",  # an attachment's bytes are not kept
    "AttachmentBinaryObject",
}


def _is_object_type(element: Any, name: str) -> bool:
    """Codes that tell kinds of documents and taxes apart, and the project's name, which CII demands."""
    parent = element.getparent().tag.rpartition("}")[2]
    if name == "ID":
        return parent == "TaxScheme"
    if name in ("TypeCode", "DocumentTypeCode"):
        return element.text in ("VAT", "916", "130", "50")
    if name == "ExemptionReason":
        # The standard knows reasons for a whole category, not for a line.
        return element.getparent().getparent().tag.endswith("SpecifiedLineTradeSettlement")
    return name == "Name" and parent == "SpecifiedProcuringProject"


def _is_kept(text: str, known: set[object], numbers: set[Decimal]) -> bool:
    candidates: set[object] = {text, text.replace(" ", ""), text[5:] if text.startswith("#") else text}
    if text.casefold() in ("dummywert", "na"):
        return True
    with suppress(ValueError):
        candidates.add(date.fromisoformat(text))
    try:
        return bool(candidates & known) or Decimal(text) in numbers
    except ArithmeticError:
        return bool(candidates & known)


def _leaves(value: Any) -> Any:
    if isinstance(value, dict):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)
    elif value is not None:
        yield value


def _differences(ubl: Any, cii: Any, expected: dict[str, Any], path: str = "") -> dict[str, tuple[Any, Any]]:
    if ubl == cii:
        return {}
    if path in expected or type(ubl) is not type(cii) or not isinstance(ubl, dict | list) or len(ubl) != len(cii):
        return {path: (ubl, cii)}
    found: dict[str, tuple[Any, Any]] = {}
    if isinstance(ubl, dict):
        for key in ubl:
            found |= _differences(ubl[key], cii[key], expected, f"{path}.{key}".lstrip("."))
    else:
        for index, pair in enumerate(zip(ubl, cii, strict=True)):
            found |= _differences(*pair, expected, f"{path}[{index}]")
    return found


_TOTAL = b'<cbc:LineExtensionAmount currencyID="EUR">%d</cbc:LineExtensionAmount>'
SUB_LINES = b"""<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2"
  xmlns:cac="urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2"
  xmlns:cbc="urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2">
  <cac:InvoiceLine><cbc:ID>1</cbc:ID>%s
    <cac:SubInvoiceLine><cbc:ID>1.1</cbc:ID>%s
      <cac:SubInvoiceLine><cbc:ID>1.1.1</cbc:ID></cac:SubInvoiceLine></cac:SubInvoiceLine>
    <cac:SubInvoiceLine><cbc:ID>1.2</cbc:ID>%s</cac:SubInvoiceLine></cac:InvoiceLine></Invoice>""" % tuple(
    _TOTAL % amount for amount in (30, 10, 20)
)
PARENT_LINES = b"""<rsm:CrossIndustryInvoice
  xmlns:rsm="urn:un:unece:uncefact:data:standard:CrossIndustryInvoice:100"
  xmlns:ram="urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100">
  <rsm:SupplyChainTradeTransaction>%s</rsm:SupplyChainTradeTransaction></rsm:CrossIndustryInvoice>"""


def _cii_line(number: str, parent: str = "", amount: str = "") -> bytes:
    above = f"<ram:ParentLineID>{parent}</ram:ParentLineID>" if parent else ""
    total = f"<ram:LineTotalAmount>{amount}</ram:LineTotalAmount>" if amount else ""
    return (
        "<ram:IncludedSupplyChainTradeLineItem><ram:AssociatedDocumentLineDocument>"
        f"<ram:LineID>{number}</ram:LineID>{above}</ram:AssociatedDocumentLineDocument>"
        "<ram:SpecifiedLineTradeSettlement><ram:SpecifiedTradeSettlementLineMonetarySummation>"
        f"{total}</ram:SpecifiedTradeSettlementLineMonetarySummation></ram:SpecifiedLineTradeSettlement>"
        "</ram:IncludedSupplyChainTradeLineItem>"
    ).encode()


def test_lines_below_lines_are_read_from_both_syntaxes() -> None:
    items = [("1", "", "30"), ("1.1", "1", "10"), ("1.1.1", "1.1", ""), ("1.2", "1", "20")]
    cii = PARENT_LINES % b"".join(_cii_line(*item) for item in items)
    lines = [read_xml(data)[0].lines for data in (SUB_LINES, cii)]
    assert lines[0] == lines[1]
    assert [part.id for part in lines[0][0].sub_lines] == ["1.1", "1.2"]
    assert lines[0][0].sub_lines[0].sub_lines[0].id == "1.1.1"


def test_a_credit_note_is_read_like_an_invoice() -> None:
    data = (
        example("01.01a", "ubl")
        .read_bytes()
        .replace(b"Invoice-2", b"CreditNote-2")
        .replace(b"ubl:Invoice", b"ubl:CreditNote")
        .replace(b"InvoiceTypeCode>380", b"CreditNoteTypeCode>381")
        .replace(b"InvoiceTypeCode", b"CreditNoteTypeCode")
        .replace(b"cac:InvoiceLine", b"cac:CreditNoteLine")
        .replace(b"InvoicedQuantity", b"CreditedQuantity")
    )
    note, syntax, _ = read_xml(data)
    invoice = from_example("01.01a", "ubl")
    assert syntax == "ubl"
    assert note.is_credit_note
    assert not invoice.is_credit_note
    assert note.model_copy(update={"type_code": "380", "due_date": invoice.due_date}) == invoice


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (b"<cbc:IssueDate>2016-04-04", b"<cbc:IssueDate>2016-04-31", "MU-VALUE-DATE"),
        (b"<cbc:IssueDate>2016-04-04", b"<cbc:IssueDate>04.04.2016", "MU-VALUE-DATE"),
        (b">336.9<", b">336,9<", "MU-VALUE-NUMBER"),
        (b">336.9<", b">NaN<", "MU-VALUE-NUMBER"),
        (b">336.9<", b">1E+5<", "MU-VALUE-NUMBER"),
        (b"CurrencyCode>EUR", b"CurrencyCode>EURO", "BR-CL-04"),
        (b"CurrencyCode>EUR", b"CurrencyCode>XYZ", "BR-CL-04"),
    ],
)
def test_a_value_that_cannot_be_read_sets_the_invoice_aside(old: bytes, new: bytes, rule: str) -> None:
    data = example("01.01a", "ubl").read_bytes()
    assert old in data
    with pytest.raises(SetAside) as caught:
        read_xml(data.replace(old, new))
    assert {finding.rule for finding in caught.value.findings} == {rule}


@pytest.mark.parametrize(("code", "rule"), [("USD", "MU-CURRENCY-MIXED"), ("E", "BR-CL-03")])
def test_an_amount_in_another_currency_is_found(code: str, rule: str) -> None:
    data = example("01.01a", "ubl").read_bytes().replace(b'currencyID="EUR"', f'currencyID="{code}"'.encode(), 1)
    _, _, findings = read_xml(data)
    assert [finding.rule for finding in findings] == [rule]


def test_an_invoice_survives_the_journey_through_json() -> None:
    invoice = from_example("03.01a", "ubl")
    assert Invoice.model_validate_json(invoice.model_dump_json()) == invoice
