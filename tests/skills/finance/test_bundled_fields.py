"""Promises of the bundled files and of every result: what is read is what was written, and no amount is a float."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from muster.database import Database
from muster.errors import SetAside
from muster.skills.finance import (
    check_supplier,
    code_by_history,
    find_duplicates,
    load_master_data,
    match_order,
    post_to_ledger,
    propose_payment,
    read_invoice,
    report,
    reverse_posting,
    vet_invoice,
)
from muster.skills.finance.casefile import Stages, gather
from muster.skills.finance.policy import policy_of
from muster.skills.registry import get_skill
from support.inbox.__main__ import INBOX
from support.inbox.invoices import INVOICES, Invoice
from support.invoices import reader
from support.ledger import SETTINGS, coding, context, vetted


@pytest.mark.parametrize("written", INVOICES, ids=[each.file for each in INVOICES])
def test_the_fields_of_a_bundled_file_are_what_its_generator_put_in(written: Invoice) -> None:
    result = read_invoice((INBOX / written.file).as_uri(), reader(INBOX))
    found = result.invoice
    assert result.format == written.format
    assert (found.number, found.issue_date, found.due_date) == (written.number, written.issued, written.due)
    assert (found.currency, found.order_reference) == ("EUR", written.order)
    assert (found.seller.name, found.seller.vat_id) == (written.seller.name, written.seller.vat_id)
    assert found.ibans == [written.seller.iban]
    assert (found.totals.net, found.totals.vat, found.totals.gross) == (written.net, written.vat, written.gross)
    assert set(result.not_found) <= {"lines"}
    if written.format != "pdf":
        assert [(line.item.seller_id, line.quantity, line.net_price, line.net_amount) for line in found.lines] == [
            (line.item, line.quantity, line.price, line.net) for line in written.lines
        ]


def test_no_result_of_any_skill_holds_a_float(database: Database, tmp_path: Path) -> None:
    loading = context(database, tmp_path)
    results: dict[str, Any] = {
        "finance.load_master_data": load_master_data(str(INBOX.parent / "master-data.yaml"), loading)
    }
    postings = []
    for index, written in enumerate(INVOICES):
        at = context(database, tmp_path, index=index)
        read = read_invoice((INBOX / written.file).as_uri(), at)
        results["finance.check_supplier"] = check_supplier(read.invoice, at)
        results["finance.find_duplicates"] = find_duplicates(read, context(database, tmp_path, "try/1"))
        try:
            item = vet_invoice(read, at)
        except SetAside:
            continue
        results["finance.code_by_history"] = coded = code_by_history(item.invoice, at)
        results["finance.match_order"] = match = match_order(item.invoice, at)
        results["finance.post_to_ledger"] = posting = post_to_ledger(item, coded, at, match)
        postings.append(posting)
        for name, value in (results | {"finance.read_invoice": read, "finance.vet_invoice": item}).items():
            assert_exact(value, name)
            assert_exact(get_skill(name).dump(value), name)
    assert len(postings) == 5
    pay = context(database, tmp_path, step="pay", index=None)
    results = {
        "finance.propose_payment": propose_payment(postings, pay),
        "finance.report": report(pay),
        "finance.reverse_posting": reverse_posting(pay, post_again(database, tmp_path)),
    }
    for name, value in results.items():
        assert_exact(value, name)
        assert_exact(get_skill(name).dump(value), name)
    assert_exact(gather(database, pay.run, Stages()), "case file")
    assert_exact(policy_of(SETTINGS | {"finance": {"approval_limit": 0.1}}), "policy")


def post_again(database: Database, folder: Path) -> int:
    """A posting in no payment file: the first invoice under another number."""
    at = context(database, folder, "other/1")
    read = read_invoice((INBOX / INVOICES[0].file).as_uri(), at)
    content = read.invoice.model_copy(update={"number": "ANOTHER", "issue_date": date(2026, 9, 29), "lines": []})
    return post_to_ledger(vetted(database, content, "e" * 64), coding("2000"), at).id


def assert_exact(value: Any, path: str) -> None:
    """Fail at the first float, and at a Decimal that is no number."""
    assert not isinstance(value, float), f"{path} is the float {value!r}"
    if isinstance(value, Decimal):
        assert value.is_finite(), path
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            assert_exact(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict):
        for key, each in value.items():
            assert_exact(each, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for position, each in enumerate(value):
            assert_exact(each, f"{path}[{position}]")
