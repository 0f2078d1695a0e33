"""Files that are no invoice, or mean harm: set aside with a finding, never a crash and never a wait."""

from __future__ import annotations

import io
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from fpdf import FPDF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, StreamObject

from muster.errors import SetAside
from muster.skills.finance import read_invoice
from muster.skills.finance.reading.document import read_document
from muster.skills.finance.reading.source import MAX_BYTES
from support.invoices import example, reader
from support.printed_invoices import printed

_ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
BOMB = f"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY e0 "aaaaaaaaaa">{_ENTITIES}]>
<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2">&e9;</Invoice>"""
EXTERNAL = """<?xml version="1.0"?><!DOCTYPE i [<!ENTITY x SYSTEM "%s">]>
<Invoice xmlns="urn:oasis:names:specification:ubl:schema:xsd:Invoice-2">&x;</Invoice>"""


def rule_of(data: bytes) -> str:
    with pytest.raises(SetAside) as caught:
        read_document(data, "test")
    assert caught.value.findings
    return caught.value.findings[0].rule


def a_pdf(text: str = "", *, password: str | None = None) -> bytes:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica", size=10)
    for line in text.splitlines():
        pdf.cell(0, 6, line, new_x="LMARGIN", new_y="NEXT")
    plain = bytes(pdf.output())
    if password is None:
        return plain
    writer, out = PdfWriter(clone_from=PdfReader(io.BytesIO(plain))), io.BytesIO()
    writer.encrypt(password, "owner", algorithm="AES-256")
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (BOMB.encode(), "MU-XML-DOCTYPE"),
        (BOMB.replace('version="1.0"', 'version="1.0" encoding="UTF-16"').encode("utf-16"), "MU-XML-DOCTYPE"),
        ((EXTERNAL % "file:///etc/passwd").encode(), "MU-XML-DOCTYPE"),
        (b"<!DOCTYPE html><html></html>", "MU-XML-DOCTYPE"),
        (b"<a>" * 150 + b"</a>" * 150, "MU-XML-TOO-DEEP"),
        (b"<a>" * 100_000, "MU-XML-TOO-DEEP"),
        (b"<Invoice", "MU-XML-MALFORMED"),
        (b"<Invoice></Rechnung>", "MU-XML-MALFORMED"),
        (b"<Invoice>&undefined;</Invoice>", "MU-XML-MALFORMED"),
        (b'<?xml version="1.0" encoding="no-such"?><a/>', "MU-XML-MALFORMED"),
        (b"<note>Hello</note>", "MU-FORMAT-UNKNOWN"),
        (b"<CrossIndustryDocument xmlns='urn:ferd:CrossIndustryDocument:invoice:1p0'/>", "MU-FORMAT-UNKNOWN"),
        (b"Dear Sir, please find our invoice below.", "MU-FORMAT-UNKNOWN"),
        (b"PK\x03\x04 a spreadsheet", "MU-FORMAT-UNKNOWN"),
        (b"\x89PNG\r\n\x1a\n", "MU-FORMAT-UNKNOWN"),
        (b"%PDF-1.7\n", "MU-PDF-DAMAGED"),
        (b"%PDF-1.7\n" + b"\x00\xff" * 5000, "MU-PDF-DAMAGED"),
        (a_pdf(), "MU-PDF-NO-TEXT"),
        (a_pdf("Invoice 1", password="secret"), "MU-PDF-ENCRYPTED"),
    ],
)
def test_what_is_no_invoice_is_set_aside_with_the_reason(data: bytes, rule: str) -> None:
    assert rule_of(data) == rule


def test_an_external_entity_is_never_fetched() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        assert rule_of((EXTERNAL % f"http://127.0.0.1:{server.getsockname()[1]}/x").encode()) == "MU-XML-DOCTYPE"
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 200_000_000])
def test_a_pdf_that_unpacks_to_a_flood_is_refused(size: int) -> None:
    writer, out = PdfWriter(clone_from=PdfReader(io.BytesIO(a_pdf("Invoice 1")))), io.BytesIO()
    flood = StreamObject()
    flood.set_data(b" " * size)
    writer.pages[0][NameObject("/Contents")] = writer._add_object(flood.flate_encode())
    writer.write(out)
    assert len(out.getvalue()) < 1_000_000
    assert rule_of(out.getvalue()) == "MU-PDF-TOO-LARGE"


def test_a_truncated_pdf_is_read_right_or_set_aside() -> None:
    whole = printed(1, "de", "labels")
    truth, outcomes = whole.truth, set()
    for share in (0.2, 0.4, 0.6, 0.8, 0.95):
        try:
            read = read_document(whole.pdf[: int(len(whole.pdf) * share)], "test")
        except SetAside as error:
            outcomes.add(error.findings[0].rule)
        else:
            assert read.invoice.number in (None, truth["number"])
            assert read.invoice.totals.gross in (None, truth["totals.gross"])
    assert outcomes
    assert outcomes <= {"MU-PDF-DAMAGED", "MU-PDF-NO-TEXT"}


def test_a_pdf_protected_only_against_editing_is_read() -> None:
    assert (
        read_document(a_pdf("Invoice number: 4711\nsome more words for the page", password=""), "t").invoice.number
        == "4711"
    )


def test_an_empty_or_huge_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.xml").write_bytes(b" \n")
    with (tmp_path / "huge.xml").open("wb") as huge:
        huge.truncate(MAX_BYTES + 1)
    for name, rule in {"empty.xml": "MU-FILE-EMPTY", "huge.xml": "MU-FILE-TOO-LARGE"}.items():
        with pytest.raises(SetAside) as caught:
            read_invoice(f"{tmp_path}/{name}", reader(tmp_path))
        assert caught.value.findings[0].rule == rule


def test_a_file_is_read_by_path_and_by_uri_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "an invoice.pdf"
    path.write_bytes(example("01.01a", "ubl").read_bytes())
    by_path, by_uri = read_invoice(str(path), reader(tmp_path)), read_invoice(path.as_uri(), reader(tmp_path))
    assert by_path.invoice == by_uri.invoice
    assert by_path.format == "ubl"
    missing, elsewhere = f"{tmp_path}/nothing.xml", "/etc/passwd"
    for uri in (missing, elsewhere, "https://example.com/invoice.xml", "file://elsewhere/x", "", f"{tmp_path}/a\0b"):
        with pytest.raises(SetAside) as caught:
            read_invoice(uri, reader(tmp_path))
        assert caught.value.findings[0].rule == "MU-FILE-REFUSED"


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damage_anywhere_is_set_aside_or_read_but_never_crashes(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([example("01.01a", "ubl"), example("01.01a", "uncefact")])).read_bytes()
    start = data.draw(st.integers(0, len(source)))
    end = data.draw(st.integers(start, min(len(source), start + 400)))
    damaged = source[:start] + data.draw(st.binary(max_size=40)) + source[end:]
    with suppress(SetAside):
        read_document(damaged, "test")
