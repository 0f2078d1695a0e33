"""Promises of the bundled automation on the bundled inbox: each invoice ends where it should."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from muster.approvals.asking import answer, request
from muster.database import Database
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.language import load_folder
from support.invoices import reader
from support.runs import Site

INCLUDE = Path(__file__).parents[3] / "include"
INVOICES = sorted(path.as_uri() for path in (INCLUDE / "inbox" / "invoices").iterdir())


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    made = Site.of(INCLUDE, database, tmp_path / "artifacts")
    load_master_data(made)
    return made


def load_master_data(site: Site) -> None:
    from datetime import UTC, datetime

    from muster.documents import Documents
    from muster.skills.finance import load_master_data as load
    from muster.skills.registry import SkillContext

    context = SkillContext(
        run="try/1",
        step="load",
        key="load",
        now=datetime.now(UTC),
        database=site.services.database,
        workspace=site.services.workspace("try"),
        documents=Documents((INCLUDE / "inbox",)),
    )
    load(str(INCLUDE / "inbox" / "master-data.yaml"), context)


def process(site: Site, approve: set[str], invoices: list[str] = INVOICES) -> str:
    """Run the automation; a question is approved when its invoice number is in `approve`."""
    definition = load_folder(INCLUDE, only="invoice_processing").definitions["invoice_processing"]
    run = site.open(definition, by="admin", invoices=invoices)
    for step in ("read", "vet", "code", "match"):
        site.step(run, step)
    for slot in range(site.expand(run, "approve")):
        site.do(decide(site, run, slot, approve))
    for step in ("post", "pay", "report", "tell"):
        site.step(run, step)
    site.close(run)
    return run


async def decide(site: Site, run: str, slot: int, approve: set[str]) -> None:
    work_item = await begin(site.services, WorkRef(run=run, step="approve", slot=slot, lane="worker"))
    assert isinstance(work_item, WorkItem)
    asked = await request(site.services, work_item)
    approved = any(number in asked.subject for number in approve)
    await answer(site.services, work_item, approved=approved, by="finance-lead")


def report(site: Site, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(site.state(run).step("report").output["json_file"]).read_text())
    return found


def test_each_bundled_invoice_ends_where_it_should(site: Site) -> None:
    run = process(site, approve={"90218834", "26/30977"})
    state = site.state(run)
    assert state.status == "succeeded", state.reason
    cases = {Path(case["source"]).name: case for case in report(site, run)["file"]["cases"]}
    assert {name[:2]: case["fate"] for name, case in cases.items()} == {
        "01": "posted",
        "02": "posted",
        "03": "rejected",
        "04": "set_aside",
        "05": "posted",
        "06": "posted",
        "07": "set_aside",
        "08": "set_aside",
    }
    findings = {name[:2]: {found["rule"] for found in case["findings"]} for name, case in cases.items()}
    assert "BR-CO-10" in findings["04"]
    assert "MU-IBAN-CHANGED" in findings["07"]
    assert "MU-DUPLICATE" in findings["08"]
    asked = {index for (step, index) in state.approvals if step == "approve"}
    assert asked == {1, 2, 4}, "above the limit, price too high, too little received"
    assert state.step("code").items[0].produced_by == "rules", "no model is connected, and it says so"


def test_debits_equal_credits_and_the_payment_is_what_was_posted(site: Site) -> None:
    run = process(site, approve={"90218834", "26/30977", "2026-R-0815"})
    with site.services.database.connection() as connection:
        uneven = connection.execute(
            "SELECT posting_id FROM finance.entries GROUP BY posting_id HAVING sum(debit) <> sum(credit)"
        ).fetchall()
        posted = connection.execute("SELECT count(*) FROM finance.postings").fetchall()
    assert uneven == []
    assert posted == [(5,)]
    proposal = site.state(run).step("pay").output
    assert Decimal(proposal["total"]) == sum(Decimal(payment["amount"]) for payment in proposal["payments"])
    assert len(proposal["payments"]) == 5


def test_the_same_inbox_again_posts_and_pays_nothing(site: Site) -> None:
    process(site, approve={"90218834", "26/30977", "2026-R-0815"})
    run = process(site, approve={"90218834", "26/30977", "2026-R-0815"})
    output = site.state(run).step("report").output
    assert output["posted"] == 0
    assert output["payment_file"] is None


def test_a_run_without_invoices_ends_well(site: Site) -> None:
    run = process(site, approve=set(), invoices=[])
    assert site.state(run).status == "succeeded"


def test_the_bundled_invoices_are_what_their_generator_writes() -> None:
    from support.inbox.__main__ import INBOX, xml
    from support.inbox.invoices import INVOICES as WRITTEN

    assert sorted(path.name for path in INBOX.iterdir()) == sorted(invoice.file for invoice in WRITTEN)
    for invoice in WRITTEN:
        if invoice.format in ("ubl", "cii"):
            assert (INBOX / invoice.file).read_bytes() == xml(invoice, invoice.format)


@pytest.mark.parametrize("invoice", [path for path in INVOICES if path.endswith(".pdf")])
def test_the_hybrid_invoices_are_valid_factur_x(invoice: str) -> None:
    import facturx
    from pypdf import PdfReader

    path = Path(unquote(urlsplit(invoice).path))
    name, content = facturx.get_xml_from_pdf(path.read_bytes(), check_xsd=True)
    plain = path.name.startswith("06")
    assert bool(name) != plain, "one PDF is plain text only"
    assert PdfReader(path).pages[0].extract_text().strip()
    if not plain:
        assert facturx.xml_check_schematron(content, flavor="factur-x", level="en16931")


@pytest.mark.parametrize("invoice", [path for path in INVOICES if path.endswith(".xml")])
def test_only_the_one_that_is_meant_to_break_a_rule_does(invoice: str) -> None:
    from muster.skills.finance import read_invoice
    from muster.skills.finance.rules.catalogue import check

    broken = {
        finding.rule for finding in check(read_invoice(invoice, reader(INCLUDE / "inbox")), today=date(2026, 10, 1))
    }
    assert broken == ({"BR-CO-10", "BR-S-08"} if "04-" in invoice else set())
