"""Promises of the bundled automation when an invoice is posted later than the others: it is paid as well."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from muster.database import Database
from muster.language import load_folder
from muster.operations.cancelling import request_cancel
from muster.operations.redoing import order, plan_redrive, plan_restart
from muster.skills.finance import load_master_data
from muster.skills.finance.sepa import NAMESPACE
from support.ledger import context
from support.runs import Site

INCLUDE = Path(__file__).parents[3] / "include"
INVOICES = INCLUDE / "inbox" / "invoices"
NUMBERS = ["RE-1", "RE-2", "RE-3"]


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    load_master_data(str(INCLUDE / "inbox" / "master-data.yaml"), context(database, tmp_path))
    with database.connection() as connection:  # As much as three invoices are about.
        connection.execute("UPDATE finance.purchase_order_lines SET quantity = quantity * 3")
        connection.execute("UPDATE finance.goods_receipt_lines SET quantity = quantity * 3")
    return Site.of(INCLUDE, database, tmp_path / "artifacts")


@pytest.fixture
def run(site: Site, database: Database, tmp_path: Path) -> str:
    """Three invoices of which the second one's posting was refused by the ledger, which takes it by now."""
    inbox = tmp_path / "arrived"
    inbox.mkdir()
    for index, number in enumerate(NUMBERS):
        text = (INVOICES / "01-papierhaus-seidel.xml").read_text(encoding="utf-8").replace("RE-2026-4471", number)
        (inbox / f"{index}.xml").write_text(text, encoding="utf-8")
    definition = load_folder(INCLUDE, only="invoice_processing").definitions["invoice_processing"]
    run = site.open(definition, by="admin", invoices=[path.as_uri() for path in sorted(inbox.iterdir())])
    for step in ("read", "vet", "code", "match"):
        site.step(run, step)
    site.all_of(run, "approve")
    with database.connection() as connection:
        refused = "number <> 'RE-2' OR posting_id IS NULL"
        connection.execute(f"ALTER TABLE finance.invoices ADD CONSTRAINT no_second CHECK ({refused})")
    for step in ("post", "pay", "report", "tell"):
        site.step(run, step)
    site.close(run)
    with database.connection() as connection:
        connection.execute("ALTER TABLE finance.invoices DROP CONSTRAINT no_second")
    return run


def again(site: Site, run: str, *steps: str, epoch: int) -> None:
    for step in steps:
        site.step(run, step, epoch=epoch)


def redrive(site: Site, run: str) -> None:
    log, definitions = site.services.log, site.services.definitions
    order(log, plan_redrive(log, definitions, run, {"post": [1]}, by="ada"))


def restart(site: Site, run: str) -> None:
    log, definitions = site.services.log, site.services.definitions
    order(log, plan_restart(log, definitions, run, "post", by="ada"))


def paid(site: Site) -> list[str]:
    """What the ledger says is paid."""
    with site.services.database.connection() as connection:
        rows = connection.execute(
            "SELECT i.number FROM finance.payments y JOIN finance.invoices i USING (posting_id) ORDER BY 1"
        )
        return [number for (number,) in rows]


def in_files(site: Site, run: str, kind: str = "xml") -> list[list[str]]:
    """What the bank would be told to pay, file by file."""
    files = sorted(site.services.workspace(run).glob(f"*.{kind}"))
    path = ".//p:CdtTrfTxInf/p:RmtInf/p:Ustrd"
    return sorted([str(each.text) for each in etree.parse(file).getroot().iterfind(path, NAMESPACE)] for file in files)


def told(site: Site, run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(site.state(run).step("report").output["json_file"]).read_text())
    return found["file"]


@pytest.mark.parametrize("how", [redrive, restart])
def test_an_invoice_that_is_posted_later_is_paid_in_a_file_of_its_own(site: Site, run: str, how: Any) -> None:
    assert paid(site) == ["RE-1", "RE-3"]
    assert site.state(run).step("post").work(1).status == "failed"
    how(site, run)
    again(site, run, "post", "pay", "report", "tell", epoch=1)
    site.close(run, epoch=1)
    assert site.state(run).status == "succeeded"
    assert paid(site) == NUMBERS
    assert in_files(site, run) == [["RE-1", "RE-3"], ["RE-2"]]
    assert [case["paid_on"] is not None for case in told(site, run)["cases"]] == [True] * 3
    report = site.state(run).step("report").output
    assert sorted(report["payment_files"]) == sorted(path.name for path in site.services.workspace(run).glob("*.xml"))
    assert Decimal(report["payment_total"]) == sum(Decimal(case["due"]) for case in told(site, run)["cases"])
    page = Path(report["html"]).read_text()
    assert all(file in page for file in report["payment_files"])

    restart(site, run)
    again(site, run, "post", "pay", "report", "tell", epoch=2)
    assert in_files(site, run) == [["RE-1", "RE-3"], ["RE-2"]], "there was nothing more to pay"


@pytest.mark.parametrize("how", [redrive, restart])
def test_undoing_it_then_withdraws_both_files(site: Site, run: str, how: Any) -> None:
    how(site, run)
    again(site, run, "post", "pay", epoch=1)
    request_cancel(site.services.log, run, by="ada")
    again(site, run, "report", "tell", epoch=1)
    assert site.unwind(run, epoch=1) == "succeeded"
    site.close(run, epoch=1)
    assert site.state(run).status == "compensated"
    assert paid(site) == []
    assert in_files(site, run) == []
    assert in_files(site, run, "withdrawn") == [["RE-1", "RE-3"], ["RE-2"]]
    with site.services.database.connection() as connection:
        assert connection.execute("SELECT count(*) FROM finance.payment_proposals").fetchone() == (0,)
        posted = "SELECT count(*) FILTER (WHERE reverses IS NULL), count(reverses) FROM finance.postings"
        assert connection.execute(posted).fetchone() == (3, 3)
