"""The rules: valid invoices break none, and each thing that is wrong is found under its own id."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from muster.skills.finance.invoice import Invoice, ReadInvoice
from muster.skills.finance.reading.document import read_document
from muster.skills.finance.reading.structured import read_xml
from muster.skills.finance.rules.catalogue import EN_16931, check
from support.invoices import EXAMPLES, example

TODAY = date(2026, 11, 21)


def rules_broken(read: ReadInvoice | Invoice, **options: Any) -> list[str]:
    if isinstance(read, Invoice):
        read = ReadInvoice(invoice=read, source="test", format="ubl", sha256="", profile=read.specification)
    return [finding.rule for finding in check(read, today=TODAY, **options)]


def test_no_official_example_breaks_a_rule_of_the_standard(capsys: pytest.CaptureFixture[str]) -> None:
    """Their VAT ids and BICs are invented, which is the one thing our own rules remark on."""
    counts: Counter[str] = Counter()
    files = 0
    for path in (example(*one) for one in EXAMPLES):
        findings = check(read_document(path.read_bytes(), path.name), today=TODAY)
        assert not [finding for finding in findings if finding.severity == "error"], path.name
        counts.update(finding.rule for finding in findings)
        files += 1
    with capsys.disabled():
        print(f"\n  {files} examples, findings: {dict(counts)}", end="")
    assert files == 44
    assert set(counts) == {"MU-VAT-ID-INVALID", "MU-BIC-INVALID"}


def test_every_rule_has_an_official_id_and_a_message_of_its_own() -> None:
    assert len({rule.id for rule in EN_16931}) >= 180
    for rule in EN_16931:
        assert re.fullmatch(r"BR-(\d\d|CO-\d\d|DEC-\d\d|CL-\d\d|(S|Z|E|AE|IC|G|O|IG|IP)-\d\d)", rule.id)
        assert rule.message.endswith(".")


@pytest.fixture
def valid() -> Invoice:
    """An invoice with an allowance, a charge, two lines and a transfer, that breaks no rule."""
    invoice = Invoice.model_validate(
        {
            "number": "2026-1",
            "issue_date": "2026-10-01",
            "type_code": "380",
            "currency": "EUR",
            "due_date": "2026-10-31",
            "specification": "urn:cen.eu:en16931:2017",
            "seller": {
                "name": "Seller GmbH",
                "vat_id": "DE136695976",
                "electronic_address": {"value": "a@seller.example", "scheme": "EM"},
                "address": {"city": "Ulm", "country": "DE"},
            },
            "buyer": {
                "name": "Buyer Ltd",
                "vat_id": "ATU13585627",
                "electronic_address": {"value": "b@buyer.example", "scheme": "EM"},
                "address": {"city": "Wien", "country": "AT"},
            },
            "payee": {"name": "Factor AG"},
            "tax_representative": {"name": "Rep", "vat_id": "DE136695976", "address": {"country": "DE"}},
            "delivery": {"delivery_date": "2026-09-30", "address": {"country": "AT"}},
            "period": {"start": "2026-09-01", "end": "2026-09-30"},
            "payment": {
                "means_code": "58",
                "credit_transfers": [{"account": "DE89370400440532013000", "bic": "COBADEFFXXX"}],
            },
            "allowances": [{"amount": "10.00", "vat_category": "S", "vat_rate": "20", "reason_code": "95"}],
            "charges": [{"amount": "5.00", "vat_category": "S", "vat_rate": "20", "reason": "Freight"}],
            "totals": {
                "line_total": "105.00",
                "allowance_total": "10.00",
                "charge_total": "5.00",
                "net": "100.00",
                "vat": "20.00",
                "gross": "120.00",
                "prepaid": "20.00",
                "due": "100.00",
            },
            "vat_breakdown": [{"taxable_amount": "100.00", "tax_amount": "20.00", "category": "S", "rate": "20"}],
            "preceding_invoices": [{"number": "2026-0"}],
            "attachments": [{"reference": "A", "mime_type": "application/pdf"}],
            "lines": [
                {
                    "id": "1",
                    "quantity": "2",
                    "unit": "C62",
                    "net_amount": "100.00",
                    "net_price": "50",
                    "vat_category": "S",
                    "vat_rate": "20",
                    "item": {
                        "name": "Chair",
                        "standard_id": {"value": "4012345678901", "scheme": "0160"},
                        "classifications": [{"value": "9873242", "scheme": "STI"}],
                        "attributes": [{"name": "Colour", "value": "red"}],
                        "country_of_origin": "DE",
                    },
                    "period": {"start": "2026-09-01", "end": "2026-09-02"},
                },
                {
                    "id": "2",
                    "quantity": "1",
                    "unit": "C62",
                    "net_amount": "5.00",
                    "net_price": "6",
                    "gross_price": "7",
                    "allowances": [{"amount": "2.00", "reason": "Loyalty"}],
                    "charges": [{"amount": "1.00", "reason_code": "FC"}],
                    "vat_category": "S",
                    "vat_rate": "20",
                    "item": {"name": "Screws"},
                },
            ],
        }
    )
    assert rules_broken(invoice) == []
    return invoice


def changed(invoice: Invoice, changes: dict[str, Any]) -> Invoice:
    """The invoice with values replaced; a path is like `lines.0.net_amount`."""
    data = invoice.model_dump()
    for path, value in changes.items():
        *steps, last = path.split(".")
        part: Any = data
        for step in steps:
            part = part[int(step)] if step.isdigit() else part[step]
        part[int(last) if last.isdigit() else last] = value
    return Invoice.model_validate(data)


MISSING: dict[str, set[str]] = {
    "specification": {"BR-01"},
    "number": {"BR-02"},
    "issue_date": {"BR-03"},
    "type_code": {"BR-04"},
    "currency": {"BR-05"},
    "seller.name": {"BR-06"},
    "buyer.name": {"BR-07"},
    "seller.address": {"BR-08"},
    "seller.address.country": {"BR-09"},
    "buyer.address": {"BR-10"},
    "buyer.address.country": {"BR-11"},
    "totals.line_total": {"BR-12"},
    "totals.net": {"BR-13"},
    "totals.gross": {"BR-14"},
    "totals.due": {"BR-15"},
    "payee.name": {"BR-17"},
    "tax_representative.name": {"BR-18"},
    "tax_representative.address": {"BR-19"},
    "tax_representative.address.country": {"BR-20"},
    "lines.0.id": {"BR-21"},
    "lines.0.quantity": {"BR-22"},
    "lines.0.unit": {"BR-23"},
    "lines.0.item.name": {"BR-25"},
    "lines.0.net_price": {"BR-26"},
    "allowances.0.reason_code": {"BR-33", "BR-CO-21"},
    "charges.0.reason": {"BR-38", "BR-CO-22"},
    "lines.1.allowances.0.reason": {"BR-42", "BR-CO-23"},
    "lines.1.charges.0.reason_code": {"BR-44", "BR-CO-24"},
    "lines.1.allowances.0.amount": {"BR-41", "MU-LINE-AMOUNT"},
    "lines.1.charges.0.amount": {"BR-43", "MU-LINE-AMOUNT"},
    "vat_breakdown.0.taxable_amount": {"BR-45"},
    "vat_breakdown.0.tax_amount": {"BR-46", "BR-CO-14"},
    "vat_breakdown.0.category": {"BR-47", "BR-S-01"},
    "payment.means_code": {"BR-49"},
    "attachments.0.reference": {"BR-52"},
    "lines.0.item.attributes.0.value": {"BR-54"},
    "preceding_invoices.0.number": {"BR-55"},
    "tax_representative.vat_id": {"BR-56"},
    "delivery.address.country": {"BR-57"},
    "seller.electronic_address.scheme": {"BR-62"},
    "buyer.electronic_address.scheme": {"BR-63"},
    "lines.0.item.standard_id.scheme": {"BR-64"},
    "lines.0.item.classifications.0.scheme": {"BR-65"},
    "seller.vat_id": {"BR-CO-26"},
    "due_date": {"BR-CO-25"},
    "totals.allowance_total": {"BR-CO-11", "BR-CO-13"},
    "totals.charge_total": {"BR-CO-12", "BR-CO-13"},
    "totals.vat": {"BR-CO-14", "BR-CO-15"},
    "totals.prepaid": {"BR-CO-16"},
}


@pytest.mark.parametrize(("path", "rules"), MISSING.items())
def test_what_is_missing_is_found(valid: Invoice, path: str, rules: set[str]) -> None:
    assert set(rules_broken(changed(valid, {path: None}))) == rules


WRONG: list[tuple[dict[str, Any], set[str]]] = [
    ({"lines": [], "totals.line_total": "0"}, {"BR-16", "BR-CO-13", "BR-S-08"}),
    ({"lines.0.net_price": "-50"}, {"BR-27", "MU-LINE-AMOUNT"}),
    ({"lines.1.gross_price": "-7"}, {"BR-28"}),
    ({"period.end": "2026-08-01"}, {"BR-29"}),
    ({"lines.0.period.end": "2026-08-01"}, {"BR-30"}),
    ({"payment.card": {"number": "4111111111111111"}}, {"BR-51"}),
    ({"tax_currency": "SEK"}, {"BR-53"}),
    ({"payment.credit_transfers": []}, {"BR-61"}),
    ({"payment.credit_transfers.0.account": None}, {"BR-50", "BR-61"}),
    ({"tax_point_date": "2026-10-01", "tax_point_code": "35"}, {"BR-CO-03"}),
    ({"seller.vat_id": "136695976"}, {"BR-CO-09"}),
    ({"totals.line_total": "106.00"}, {"BR-CO-10", "BR-CO-13"}),
    ({"lines.0.net_amount": "101.00", "lines.0.net_price": "50.50"}, {"BR-CO-10", "BR-S-08"}),
    ({"totals.allowance_total": "11.00"}, {"BR-CO-11", "BR-CO-13"}),
    ({"totals.charge_total": "6.00"}, {"BR-CO-12", "BR-CO-13"}),
    ({"totals.net": "99.00"}, {"BR-CO-13", "BR-CO-15"}),
    ({"totals.vat": "21.00"}, {"BR-CO-14", "BR-CO-15"}),
    ({"totals.gross": "121.00"}, {"BR-CO-15", "BR-CO-16"}),
    ({"totals.due": "99.99"}, {"BR-CO-16"}),
    ({"totals.rounding": "0.02"}, {"BR-CO-16"}),
    ({"vat_breakdown.0.tax_amount": "23.00"}, {"BR-CO-14", "BR-CO-17", "BR-S-09"}),
    ({"vat_breakdown.0.rate": None}, {"BR-48", "BR-CO-17", "BR-S-09"}),
    ({"vat_breakdown": []}, {"BR-CO-18", "BR-S-01"}),
    ({"period": {}}, {"BR-CO-19"}),
    ({"lines.0.period": {}}, {"BR-CO-20"}),
    ({"lines.0.net_amount": "100.001"}, {"BR-DEC-23"}),
    ({"totals.prepaid": "20.000"}, {"BR-DEC-16"}),
    ({"allowances.0.base_amount": "10.001"}, {"BR-DEC-02"}),
    ({"type_code": "999"}, {"BR-CL-01"}),
    ({"seller.address.country": "ZZ"}, {"BR-CL-14"}),
    ({"lines.0.item.country_of_origin": "Deutschland"}, {"BR-CL-15"}),
    ({"payment.means_code": "99"}, {"BR-CL-16"}),
    ({"allowances.0.reason_code": "1"}, {"BR-CL-19"}),
    ({"lines.0.unit": "Stück"}, {"BR-CL-23"}),
    ({"attachments.0.mime_type": "application/x-msdownload"}, {"BR-CL-24"}),
    ({"issue_date": "2126-10-01", "due_date": None, "payment_terms": "now"}, {"MU-DATE-FUTURE"}),
    ({"issue_date": "1926-10-01"}, {"MU-DATE-ANCIENT"}),
    ({"due_date": "2026-09-01"}, {"MU-DATE-DUE-EARLY"}),
    ({"lines.0.net_price": "51"}, {"MU-LINE-AMOUNT"}),
    ({"payment.credit_transfers.0.account": "DE89370400440532013001"}, {"MU-IBAN-INVALID"}),
    ({"payment.credit_transfers.0.bic": "COBA"}, {"MU-BIC-INVALID"}),
    ({"seller.vat_id": "DE136695977"}, {"MU-VAT-ID-INVALID"}),
    ({"lines.0.sub_lines": [{"net_amount": "99.00"}]}, {"BR-DEX-02"}),
]


@pytest.mark.parametrize(
    ("changes", "rules"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, dict) else ""
)
def test_what_is_wrong_is_found(valid: Invoice, changes: dict[str, Any], rules: set[str]) -> None:
    assert set(rules_broken(changed(valid, changes))) == rules


def test_a_finding_says_where_and_which_values_disagree(valid: Invoice) -> None:
    broken = changed(valid, {"totals.gross": "121.00", "totals.due": "101.00"})
    read = ReadInvoice(invoice=broken, source="test", format="ubl", sha256="")
    (finding,) = check(read, today=TODAY)
    assert finding.rule == "BR-CO-15"
    assert finding.path == "totals.gross"
    assert (
        finding.message == "The total without VAT plus the VAT makes 120.00, but the total with VAT is 121.00 (BT-112)."
    )


def test_vat_off_by_cents_is_a_warning_and_by_more_an_error(valid: Invoice) -> None:
    def severities(tax: str) -> set[str]:
        vat = Decimal(tax)
        changes = {
            "vat_breakdown.0.tax_amount": vat,
            "totals.vat": vat,
            "totals.gross": 100 + vat,
            "totals.due": 80 + vat,
        }
        read = ReadInvoice(invoice=changed(valid, changes), source="test", format="ubl", sha256="")
        findings = check(read, today=TODAY)
        assert {finding.rule for finding in findings} == {"BR-CO-17", "BR-S-09"}
        return {finding.severity for finding in findings}

    assert severities("20.01") == {"warning"}
    assert severities("21.00") == {"error"}


def test_a_negative_total_is_for_credit_notes(valid: Invoice) -> None:
    flip = {
        "allowances": [],
        "charges": [],
        "lines.1.allowances": [],
        "lines.1.charges": [],
        "lines.0.quantity": "-2",
        "lines.0.net_amount": "-100.00",
        "lines.1.quantity": "-1",
        "lines.1.net_amount": "-6.00",
        "totals": {
            "line_total": "-106.00",
            "net": "-106.00",
            "vat": "-21.20",
            "gross": "-127.20",
            "due": "-127.20",
        },
        "vat_breakdown.0.taxable_amount": "-106.00",
        "vat_breakdown.0.tax_amount": "-21.20",
    }
    assert rules_broken(changed(valid, flip)) == ["MU-TOTAL-NEGATIVE"]
    assert rules_broken(changed(valid, {**flip, "type_code": "381"})) == []


def test_a_currency_is_checked_only_against_the_one_expected(valid: Invoice) -> None:
    assert rules_broken(valid, expected_currency="EUR") == []
    assert rules_broken(valid, expected_currency="USD") == ["MU-CURRENCY-UNEXPECTED"]


def under(valid: Invoice, category: str, *, rate: str | None = "0", reason: str | None = None) -> dict[str, Any]:
    """The changes that put the whole invoice under another VAT category without VAT."""
    parts = ("lines.0", "lines.1", "allowances.0", "charges.0")
    changes: dict[str, Any] = {f"{part}.vat_category": category for part in parts}
    changes |= {f"{part}.vat_rate": rate for part in parts}
    entry = {
        "taxable_amount": "100.00",
        "tax_amount": "0.00",
        "category": category,
        "rate": rate,
        "exemption_reason": reason,
    }
    sums = {"totals.vat": "0.00", "totals.gross": "100.00", "totals.prepaid": None}
    return {**changes, **sums, "vat_breakdown": [entry]}


EXEMPT = {"E": "E", "AE": "AE", "K": "IC", "G": "G"}


def test_the_categories_without_vat_are_valid_when_complete(valid: Invoice) -> None:
    assert rules_broken(changed(valid, under(valid, "Z"))) == []
    for code in EXEMPT:
        assert rules_broken(changed(valid, under(valid, code, reason="because"))) == []
    outside = {
        "seller.vat_id": None,
        "buyer.vat_id": None,
        "tax_representative": None,
        "seller.identifiers": [{"value": "1"}],
    }
    assert rules_broken(changed(valid, {**under(valid, "O", rate=None, reason="outside"), **outside})) == []


@pytest.mark.parametrize(("code", "prefix"), EXEMPT.items())
def test_an_exemption_needs_its_reason_rate_and_amount(valid: Invoice, code: str, prefix: str) -> None:
    base = under(valid, code, reason="because")
    assert set(rules_broken(changed(valid, under(valid, code)))) == {f"BR-{prefix}-10"}
    assert set(rules_broken(changed(valid, {**base, "lines.0.vat_rate": "20"}))) == {f"BR-{prefix}-05"}
    assert set(rules_broken(changed(valid, {**base, "allowances.0.vat_rate": "20"}))) == {f"BR-{prefix}-06"}
    assert set(rules_broken(changed(valid, {**base, "charges.0.vat_rate": None}))) == {f"BR-{prefix}-07"}
    entry = base["vat_breakdown"][0]
    low = {**base, "vat_breakdown": [{**entry, "taxable_amount": "90.00"}]}
    assert set(rules_broken(changed(valid, low))) == {f"BR-{prefix}-08"}
    twice = {**base, "vat_breakdown": [entry, {**entry, "taxable_amount": "100.00"}]}
    assert f"BR-{prefix}-01" in rules_broken(changed(valid, twice))


@pytest.mark.parametrize(
    ("code", "gone", "rules"),
    [
        ("S", ["seller.vat_id"], {"BR-S-02", "BR-S-03", "BR-S-04"}),
        ("E", ["seller.vat_id"], {"BR-E-02", "BR-E-03", "BR-E-04"}),
        ("AE", ["buyer.vat_id"], {"BR-AE-02", "BR-AE-03", "BR-AE-04"}),
        ("K", ["buyer.vat_id"], {"BR-IC-02", "BR-IC-03", "BR-IC-04"}),
        ("G", ["seller.vat_id"], {"BR-G-02", "BR-G-03", "BR-G-04"}),
        ("K", ["delivery.address"], {"BR-IC-12"}),
        ("K", ["delivery.delivery_date", "period"], {"BR-IC-11"}),
        ("O", [], {"BR-O-02", "BR-O-03", "BR-O-04"}),
    ],
)
def test_a_category_demands_its_particulars(valid: Invoice, code: str, gone: list[str], rules: set[str]) -> None:
    base = {"seller.identifiers": [{"value": "1"}], "tax_representative": None}
    base |= {} if code == "S" else under(valid, code, rate=None if code == "O" else "0", reason="because")
    assert set(rules_broken(changed(valid, {**base, **dict.fromkeys(gone)}))) == rules


def test_not_subject_to_vat_is_not_mixed_with_other_categories(valid: Invoice) -> None:
    base = under(valid, "O", rate=None, reason="outside")
    base |= {
        "seller.vat_id": None,
        "buyer.vat_id": None,
        "tax_representative": None,
        "seller.identifiers": [{"value": "1"}],
    }
    mixed = rules_broken(changed(valid, {**base, "lines.0.vat_category": "Z", "lines.0.vat_rate": "0"}))
    assert {"BR-O-12", "BR-Z-01", "BR-Z-02", "BR-O-08"} == set(mixed)


@pytest.mark.parametrize("syntax", ["ubl", "uncefact"])
@pytest.mark.parametrize(
    ("ubl", "cii", "rules"),
    [
        (rb"<cbc:ID>123456XX</cbc:ID>", rb"<ram:ID>123456XX</ram:ID>", {"BR-02"}),
        (rb"<cbc:IssueDate>.*?</cbc:IssueDate>", rb"<ram:IssueDateTime>.*?</ram:IssueDateTime>", {"BR-03"}),
        (
            rb"<cbc:TaxExclusiveAmount.*?</cbc:TaxExclusiveAmount>",
            rb"<ram:TaxBasisTotalAmount.*?</ram:TaxBasisTotalAmount>",
            {"BR-13"},
        ),
        (
            rb"<cbc:PayableAmount.*?</cbc:PayableAmount>",
            rb"<ram:DuePayableAmount.*?</ram:DuePayableAmount>",
            {"BR-15"},
        ),
    ],
)
def test_a_field_cut_from_a_file_is_found_in_either_syntax(
    syntax: str, ubl: bytes, cii: bytes, rules: set[str]
) -> None:
    data = example("01.01a", syntax).read_bytes()
    cut, count = re.subn(ubl if syntax == "ubl" else cii, b"", data, count=1, flags=re.DOTALL)
    assert count == 1
    errors = {finding.rule for finding in check(read_document(cut, "test"), today=TODAY) if finding.severity == "error"}
    assert errors == rules


@pytest.mark.parametrize("case", ["01.01a", "01.04a", "01.07a", "03.01a"])
def test_any_total_changed_in_a_file_is_found(case: str) -> None:
    invoice = read_xml(example(case, "ubl").read_bytes())[0]
    expected = {
        "line_total": "BR-CO-10",
        "net": "BR-CO-13",
        "vat": "BR-CO-14",
        "gross": "BR-CO-15",
        "due": "BR-CO-16",
    }
    for field, rule in expected.items():
        wrong = changed(invoice, {f"totals.{field}": getattr(invoice.totals, field) + Decimal("0.01")})
        assert rule in rules_broken(wrong)


def test_a_plain_pdf_is_asked_only_for_what_it_can_say() -> None:
    read = ReadInvoice(invoice=Invoice(), source="test", format="pdf", sha256="")
    assert rules_broken(read) == [
        "MU-NUMBER-MISSING",
        "MU-DATE-MISSING",
        "MU-CURRENCY-MISSING",
        "MU-SUPPLIER-MISSING",
        "MU-TOTAL-MISSING",
    ]
    odd = Invoice.model_validate({"totals": {"net": "1", "vat": "1", "gross": "3"}})
    assert "MU-TOTALS" in rules_broken(read.model_copy(update={"invoice": odd}))


def test_a_profile_without_lines_is_not_held_to_the_standard(valid: Invoice) -> None:
    partial = changed(valid, {"specification": "urn:factur-x.eu:1p0:minimum", "lines": [], "vat_breakdown": []})
    assert rules_broken(partial) == []
