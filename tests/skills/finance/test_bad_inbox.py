"""Promises of a run over bad files: each is set aside with its findings, and the good invoice beside them is posted."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.language import load_folder
from muster.skills.finance import load_master_data
from support.ledger import context
from support.runs import Site

INCLUDE = Path(__file__).parents[3] / "include"
INVOICES = INCLUDE / "inbox" / "invoices"
GOOD = INVOICES / "01-papierhaus-seidel.xml"


def changed(*changes: tuple[str, str]) -> Callable[[], bytes]:
    """The good invoice under another number, with texts replaced wherever they stand."""

    def content() -> bytes:
        text = GOOD.read_text(encoding="utf-8").replace("RE-2026-4471", "RE-2026-4472")
        for old, new in changes:
            assert old in text, f"{old!r} is not in the bundled invoice"
            text = text.replace(old, new)
        return text.encode()

    return content


def bomb() -> bytes:
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    return f'<!DOCTYPE Invoice [<!ENTITY a0 "ha">{entities}]><Invoice>&a9;</Invoice>'.encode()


def external() -> bytes:
    return b'<!DOCTYPE Invoice [<!ENTITY file SYSTEM "file:///etc/passwd">]><Invoice>&file;</Invoice>'


def truncated() -> bytes:
    return (INVOICES / "03-kolberg-it.pdf").read_bytes()[:4000]


def encrypted() -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(INVOICES / "06-weser-telefonie.pdf"))
    writer.encrypt("secret")
    stream = BytesIO()
    writer.write(stream)
    return stream.getvalue()


def without_text() -> bytes:
    from fpdf import FPDF

    page = FPDF()
    page.add_page()
    page.rect(20, 20, 80, 40)
    return bytes(page.output())


NEGATIVE = (("170.00", "-170.00"), ("375.00", "-375.00"), ("545.00", "-545.00"), ("103.55", "-103.55"))
BAD: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "bomb.xml": (bomb, set()),
    "external.xml": (external, set()),
    "nonsense.xml": (lambda: b"\x00\xff not an invoice", set()),
    "empty.pdf": (lambda: b"", set()),
    "truncated.pdf": (truncated, set()),
    "encrypted.pdf": (encrypted, {"MU-PDF-ENCRYPTED"}),
    "picture.pdf": (without_text, set()),
    "negative.xml": (changed(*NEGATIVE, ("648.55", "-648.55")), {"MU-TOTAL-NEGATIVE"}),
    "dollars.xml": (changed(("EUR", "USD")), {"MU-CURRENCY"}),
    "sums.xml": (changed(("648.55", "748.55")), {"BR-CO-15"}),
    "century.xml": (changed(("<cbc:IssueDate>2026", "<cbc:IssueDate>2126")), {"MU-DATE-FUTURE"}),
    "absurd.xml": (changed(("648.55", "9" * 30)), {"BR-CO-15"}),
    "endless.xml": (changed(("RE-2026-4472", "R" * 10_000)), {"MU-NUMBER-TOO-LONG"}),
    "account.xml": (changed(("DE02999999990000200101", "DE40999999990000666666")), {"MU-IBAN-CHANGED"}),
}


def cases(site: Site, run: str) -> dict[str, dict[str, Any]]:
    found = json.loads(Path(site.state(run).step("report").output["json_file"]).read_text())
    return {Path(case["source"]).name: case for case in found["file"]["cases"]}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_bad_files_are_set_aside_and_the_good_one_is_posted(database: Database, tmp_path: Path) -> None:
    site = Site.of(INCLUDE, database, tmp_path / "artifacts")
    load_master_data(str(INCLUDE / "inbox" / "master-data.yaml"), context(database, tmp_path))
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content())
    files = [*(tmp_path / name for name in BAD), tmp_path / "missing.xml", GOOD]
    definition = load_folder(INCLUDE, only="invoice_processing").definitions["invoice_processing"]
    run = site.run(definition, invoices=[path.as_uri() for path in files])

    state = site.state(run)
    found = cases(site, run)
    assert found.pop(GOOD.name)["fate"] == "posted"
    fates = {name: (case["fate"], case["reason"]) for name, case in found.items()}
    assert {name: fate for name, (fate, _) in fates.items()} == dict.fromkeys([*BAD, "missing.xml"], "set_aside"), fates
    assert all(reason for _, reason in fates.values()), "each says why"
    for name, (_, rules) in BAD.items():
        given = {finding["rule"] for finding in found[name]["findings"] if finding["severity"] == "error"}
        assert given, f"{name} has no finding"
        assert rules <= given, f"{name} has only {given}"
    assert state.status == "succeeded", state.reason
    with database.connection() as connection:
        assert connection.execute("SELECT count(*) FROM finance.postings").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM finance.invoices").fetchone() == (1,)
