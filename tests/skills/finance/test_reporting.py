"""Promises of the report: it tells each invoice's end from the log alone, and hostile text stays text."""

from __future__ import annotations

import json
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.skills.finance import code_by_history, match_order, post_to_ledger, propose_payment, report
from muster.skills.finance.invoice import Invoice
from muster.skills.registry import SkillContext, get_skill
from support.ledger import company, context, invoice, line, vetted

RUN = "invoices/1"
HOSTILE = """<script>alert(1)</script>"'><img src=https://evil.example/x onerror=alert(1)>{{ 7*7 }}"""


@pytest.fixture
def ready(database: Database, tmp_path: Path) -> SkillContext:
    return company(database, tmp_path)


def write(database: Database, type_: EventType, step: str, index: int | None, **data: Any) -> None:
    event = NewEvent(type=type_, data={"step": step, "index": index, **data})
    EventLog(database).append(RUN, [event])


def opened(database: Database, *invoices: str) -> None:
    data = {"automation": "invoices", "inputs": {"invoices": list(invoices)}, "requested_by": "admin"}
    EventLog(database).append(RUN, [NewEvent(type=EventType.RUN_OPENED, data=data)])


def worked(ready: SkillContext, folder: Path, index: int, content: Invoice) -> Any:
    """What an invoice leaves in the log when every step has worked on it; its posting."""
    at = context(ready.database, folder, RUN, index=index)
    item = vetted(ready.database, content, str(index) * 64)
    coding, match = code_by_history(content, at), match_order(content, at)
    posting = post_to_ledger(item, coding, at, match)
    values = {
        "finance.vet_invoice": ("vet", item),
        "finance.code_by_history": ("code", coding),
        "finance.match_order": ("match", match),
        "finance.post_to_ledger": ("post", posting),
    }
    for name, (step, value) in values.items():
        output = get_skill(name).dump(value)
        write(ready.database, EventType.STEP_SUCCEEDED, step, index, output=output, produced_by="rules")
    return posting


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def make(ready: SkillContext, folder: Path) -> tuple[Any, Page, dict[str, Any]]:
    made = report(context(ready.database, folder, RUN, step="report", index=None))
    page = Page(Path(made.html).read_text(encoding="utf-8"))
    return made, page, json.loads(Path(made.json_file).read_text(encoding="utf-8"))


def test_each_end_is_told_and_counted(ready: SkillContext, tmp_path: Path) -> None:
    opened(ready.database, *(f"file:///in/{number}.xml" for number in range(5)))
    posting = worked(ready, tmp_path, 0, invoice())
    finding = {"rule": "BR-CO-10", "message": "The lines make 850.00.", "severity": "error", "path": None}
    error = {"class": "SetAside", "message": "The lines make 850.00."}
    write(ready.database, EventType.STEP_SET_ASIDE, "vet", 1, findings=[finding], error=error)
    answer = {"approved": False, "by": "finance-lead", "how": "person", "note": "too dear"}
    write(ready.database, EventType.STEP_SUCCEEDED, "approve", 2, output=answer)
    write(ready.database, EventType.STEP_SKIPPED, "post", 2, reason="rejected")
    write(ready.database, EventType.STEP_FAILED, "read", 3, error={"class": "PermanentError", "message": "Disk full."})
    pay = context(ready.database, tmp_path, RUN, step="pay", index=None)
    output = get_skill("finance.propose_payment").dump(propose_payment([posting], pay))
    write(ready.database, EventType.STEP_SUCCEEDED, "pay", None, output=output)

    made, page, data = make(ready, tmp_path)
    assert [case["fate"] for case in data["file"]["cases"]] == ["posted", "set_aside", "rejected", "failed", "open"]
    assert (made.received, made.posted, made.set_aside, made.rejected, made.failed) == (5, 1, 1, 1, 1)
    assert made.amounts == {"EUR": Decimal("47.60")}
    assert made.payment_total == Decimal("47.60")
    for told in ("BR-CO-10", "Rejected by finance-lead", "too dear", "Disk full.", "4.xml"):
        assert told in page.text
    assert "47.60 EUR to be paid on 20 Oct 2026." in page.text
    assert data["file"]["cases"][0]["gross"] == "47.60", "money is no float"


def test_hostile_text_stays_text(ready: SkillContext, tmp_path: Path) -> None:
    opened(ready.database, f"file:///in/{HOSTILE}")
    hostile = line(item={"name": HOSTILE, "seller_id": HOSTILE})
    worked(ready, tmp_path, 0, invoice(hostile, number=HOSTILE))
    finding = {"rule": HOSTILE, "message": HOSTILE, "severity": "error", "path": HOSTILE}
    write(ready.database, EventType.STEP_SET_ASIDE, "post", 0, findings=[finding], error={"message": HOSTILE})
    answer = {"approved": True, "by": HOSTILE, "how": "person", "note": HOSTILE}
    write(ready.database, EventType.STEP_SUCCEEDED, "approve", 0, output=answer)
    _, page, _ = make(ready, tmp_path)
    assert not {"script", "img"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]


def test_the_page_loads_nothing_from_anywhere(ready: SkillContext, tmp_path: Path) -> None:
    opened(ready.database)
    made, page, _ = make(ready, tmp_path)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    text = Path(made.html).read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "There were no invoices to process." in page.text


def test_a_later_attempt_of_a_cleared_run_wins(ready: SkillContext, tmp_path: Path) -> None:
    opened(ready.database, "file:///in/0.xml")
    write(ready.database, EventType.STEP_SET_ASIDE, "vet", 0, findings=[], error={"message": "Unknown supplier."})
    worked(ready, tmp_path, 0, invoice())
    _, page, data = make(ready, tmp_path)
    assert data["file"]["cases"][0]["fate"] == "posted"
    assert "Unknown supplier." not in page.text


def test_steps_may_have_other_names(ready: SkillContext, tmp_path: Path) -> None:
    opened(ready.database, "file:///in/0.xml")
    write(ready.database, EventType.STEP_SET_ASIDE, "lesen", 0, findings=[], error={"message": "Truncated."})
    assert report(context(ready.database, tmp_path, RUN, step="report"), read="lesen").set_aside == 1


def test_credit_notes_count_against_what_was_posted(ready: SkillContext, tmp_path: Path) -> None:
    opened(ready.database, "a", "b")
    worked(ready, tmp_path, 0, invoice(line(net_amount="100.00")))
    worked(ready, tmp_path, 1, invoice(number="C-1", type_code="381"))
    assert make(ready, tmp_path)[0].amounts == {"EUR": Decimal("71.40")}


def test_a_credit_note_that_is_already_set_off_counts_against_too(ready: SkillContext, tmp_path: Path) -> None:
    opened(ready.database, "a")
    totals = {"net": "40.00", "vat": "7.60", "gross": "47.60", "prepaid": "47.60", "due": "0.00"}
    worked(ready, tmp_path, 0, invoice(type_code="381", totals=totals))
    assert make(ready, tmp_path)[0].amounts == {"EUR": Decimal("-47.60")}


def test_the_page_and_the_figures_agree(ready: SkillContext, tmp_path: Path) -> None:
    opened(ready.database, "file:///in/0.xml", "file:///in/1.xml")
    postings = [
        worked(ready, tmp_path, 0, invoice(line(net_amount="1234.56"))),
        worked(ready, tmp_path, 1, invoice(line(net_amount="77.70"), number="RE-2")),
    ]
    pay = context(ready.database, tmp_path, RUN, step="pay", index=None)
    output = get_skill("finance.propose_payment").dump(propose_payment(postings, pay))
    write(ready.database, EventType.STEP_SUCCEEDED, "pay", None, output=output)
    made, page, data = make(ready, tmp_path)
    payment = data["file"]["payment"]
    assert Decimal(data["posted"]["EUR"]) == made.amounts["EUR"] == Decimal("1561.59")
    assert Decimal(payment["total"]) == made.payment_total == Decimal("1561.59")
    for case in data["file"]["cases"]:
        for told in (case["number"], case["supplier"], case["order"], f"{Decimal(case['gross']):,.2f} EUR"):
            assert told in page.text
        for entry in case["entries"]:
            assert entry["account"] in page.text
            assert f"{Decimal(entry['debit']) or Decimal(entry['credit']):,.2f}" in page.text
        for difference in case["discrepancies"]:
            assert difference["message"] in page.text
    for paid in payment["payments"]:
        assert paid["iban"] in page.text
    assert payment["file"] in page.text
