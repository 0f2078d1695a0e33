"""The promise of the first job: a folder of invoices becomes posted ledger entries, on the real Airflow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from muster.cli.follow_run import bundled_invoices
from muster.cli.skills import call_skill, new_key
from muster.local.client import AirflowClient
from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

APPROVED = ("90218834", "26/30977")


@pytest.fixture(scope="module")
def run(airflow: Airflow) -> str:
    """The bundled inbox, processed; a person approved two invoices and rejected one."""
    include = airflow.stack.project.include
    master_data = {"file": str(include / "inbox" / "master-data.yaml")}
    call_skill("finance.load_master_data", master_data, airflow.stack.project, airflow.database, new_key())
    airflow.until("the Dag", lambda: airflow.client.dag("invoice_processing"))
    run = airflow.start("invoice_processing", "proof", invoices=bundled_invoices(include))
    questions = airflow.until("three questions", lambda: _three(airflow.waiting(run, "approve")))
    for question in questions:
        approved = any(number in question["subject"] for number in APPROVED)
        airflow.answer(question, "Approve" if approved else "Reject")
    assert airflow.finish(run) == "success", airflow.queries.run(run).reason
    return run


def _three(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return questions if len(questions) == 3 else []


def test_approved_and_plain_invoices_are_posted_and_the_others_are_not(airflow: Airflow, run: str) -> None:
    numbers = airflow.sql(
        "SELECT i.number FROM finance.postings p JOIN finance.invoices i ON i.posting_id = p.id ORDER BY 1"
    )
    assert [number for (number,) in numbers] == ["26/30977", "90218834", "RE-2026-4471", "WT-5530921"]
    counts = airflow.queries.run(run)
    assert counts.set_aside == 3


def test_every_posting_is_balanced(airflow: Airflow, run: str) -> None:
    assert run
    uneven = "SELECT posting_id FROM finance.entries GROUP BY 1 HAVING sum(debit) <> sum(credit)"
    assert airflow.sql(uneven) == []
    assert airflow.sql("SELECT count(*) > 0 FROM finance.entries") == [(True,)]


def test_the_payment_file_and_the_report_are_there(airflow: Airflow, run: str) -> None:
    outputs = {e.data["step"]: e.data["output"] for e in airflow.log.read(run) if e.type == "step.succeeded"}
    html = Path(outputs["report"]["html"])
    assert "RE-2026-4471" in html.read_text()
    payment = ElementTree.fromstring((html.parent / outputs["pay"]["file"]).read_text())
    assert "pain.001" in payment.tag


def test_what_nobody_is_connected_for_is_in_the_outbox(airflow: Airflow, run: str) -> None:
    rows = airflow.sql("SELECT channel, delivered_by FROM outbox WHERE run = %s ORDER BY channel", run)
    assert rows == [("email", "outbox"), *[("slack", "outbox")] * 4], "three questions, and what is sent at the end"


def test_the_log_of_the_run_is_whole(airflow: Airflow, run: str) -> None:
    assert airflow.log.verify(run) is None
    row = airflow.sql("SELECT execution_status, agents_involved FROM workflow_executions WHERE id = %s", run)
    assert row[0][0] == "succeeded"


def test_the_same_inbox_again_posts_nothing(airflow: Airflow, run: str) -> None:
    assert run
    before = airflow.sql("SELECT count(*) FROM finance.postings")
    include = airflow.stack.project.include
    again = airflow.start("invoice_processing", "again", invoices=bundled_invoices(include)[:2])
    airflow.finish(again)
    assert airflow.sql("SELECT count(*) FROM finance.postings") == before


PAGES = [
    "/muster/",
    "/muster/automations/invoice_processing",
    "/muster/runs/invoice_processing/proof",
    "/muster/runs/invoice_processing/proof/events",
    "/muster/api/automations",
    "/muster/health",
]


def test_every_page_is_closed_to_strangers(airflow: Airflow, run: str) -> None:
    assert run
    for page in PAGES:
        assert httpx.get(f"http://127.0.0.1:{airflow.stack.port}{page}", timeout=30).status_code == 401, page


def test_the_pages_tell_what_happened(airflow: Airflow, run: str) -> None:
    assert run
    for page in PAGES:
        answer = _page(airflow.client, page)
        assert answer.status_code == 200, (page, answer.text[:300])
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    shown = _page(airflow.client, "/muster/runs/invoice_processing/proof?step=vet").text
    assert "step.set_aside" in shown
    assert "BR-CO-10" in shown
    assert _page(airflow.client, "/muster/runs/invoice_processing/nothing").status_code == 404
    events = _page(airflow.client, "/muster/runs/invoice_processing/proof/events?limit=5").json()["events"]
    assert [event["version"] for event in events] == [1, 2, 3, 4, 5]


def test_a_task_in_the_triggerer_links_to_its_events(airflow: Airflow, run: str) -> None:
    assert run
    path = "/api/v2/dags/invoice_processing/dagRuns/proof/taskInstances/{}/links"
    for task in ("code", "read", "close"):
        links = airflow.client.get(path.format(task))["extra_links"]
        assert "/muster/runs/invoice_processing/proof" in links["Events"], task


def test_a_workers_and_an_agents_page_in_the_browser(airflow: Airflow, run: str, tmp_path: Path) -> None:
    """Looks at the run as a person does; MUSTER_SCREENSHOTS=docs/images keeps the pictures that the guides show."""
    pictures = Path(os.environ.get("MUSTER_SCREENSHOTS") or tmp_path)
    assert run
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists()), None)
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    base = f"http://localhost:{airflow.stack.port}"
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 950})
        login = airflow.stack.credentials.logins["admin"]
        page.goto(f"{base}/auth/login/")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", login.password)
        page.click("button[type=submit]")
        # Somebody who leaves the page before it has answered is not logged in.
        page.wait_for_url(lambda url: "/auth/" not in url, timeout=60_000)
        page.goto(f"{base}/dags/invoice_processing/runs/proof")
        page.get_by_text("Check rules, supplier and duplicates").first.wait_for(timeout=90_000)
        page.wait_for_timeout(4000)
        page.screenshot(path=pictures / "run.png")
        page.goto(f"{base}/dags/invoice_processing/runs/proof/plugin/muster-run")
        frame = page.frame_locator("iframe").first
        frame.get_by_text("step.set_aside").first.wait_for(timeout=60_000)
        page.wait_for_timeout(1000)
        page.screenshot(path=pictures / "events.png")
        browser.close()


def _page(client: AirflowClient, path: str) -> httpx.Response:
    headers = client._headers("/api/v2")
    return httpx.get(f"{str(client._http.base_url).rstrip(chr(47))}{path}", headers=headers, timeout=60)
