"""Promises of vetting: fraud and duplicates stop, likeness is put to a person, sound invoices go on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import SetAside
from muster.skills.finance import VettedInvoice, check_supplier, find_duplicates, vet_invoice
from muster.skills.finance.duplicates import DuplicateCheck
from muster.skills.finance.invoice import Invoice
from muster.skills.registry import SkillContext
from support.ledger import IBAN, SETTINGS, company, context, invoice, line, post, read


@pytest.fixture
def ready(database: Database, tmp_path: Path) -> SkillContext:
    return company(database, tmp_path)


def seen(ready: SkillContext, folder: Path, run: str, index: int, content: Invoice, sha: str) -> DuplicateCheck:
    return find_duplicates(read(content, sha), context(ready.database, folder, run, step="vet", index=index))


def severities(check: DuplicateCheck) -> list[tuple[str, str]]:
    return [(one.kind, finding.severity) for one, finding in zip(check.duplicates, check.findings, strict=True)]


@pytest.mark.parametrize(
    ("changes", "by"),
    [
        ({"seller": {"name": "?", "vat_id": "de 812 304 528"}, "payment": None}, "vat_id"),
        ({"seller": {"name": "?"}}, "iban"),
        ({"seller": {"name": "PAPIERHAUS  SEIDEL, GmbH"}, "payment": None}, "name"),
    ],
)
def test_a_supplier_is_known_by_vat_id_then_account_then_name(
    ready: SkillContext, changes: dict[str, Any], by: str
) -> None:
    check = check_supplier(invoice(**changes), ready)
    assert check.supplier is not None
    assert (check.supplier.id, check.matched_by, check.ok) == ("seidel", by, True)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"payment": {"credit_transfers": [{"account": "DE40999999990000666666"}]}}, "MU-IBAN-CHANGED"),
        (
            {"payment": {"credit_transfers": [{"account": IBAN}, {"account": "DE40999999990000666666"}]}},
            "MU-IBAN-CHANGED",
        ),
        ({"seller": {"name": "Papierhaus Seidel GmbH", "vat_id": "DE291447104"}}, "MU-SUPPLIER-VAT"),
        ({"currency": "USD"}, "MU-CURRENCY"),
        ({"seller": {"name": "Nobody"}, "payment": None}, "MU-SUPPLIER-UNKNOWN"),
    ],
)
def test_what_differs_from_the_master_data_is_an_error(ready: SkillContext, changes: dict[str, Any], rule: str) -> None:
    check = check_supplier(invoice(**changes), ready)
    assert [finding.rule for finding in check.findings] == [rule]
    assert not check.ok


def test_a_blocked_supplier_is_not_paid(ready: SkillContext) -> None:
    with ready.database.connection() as connection:
        connection.execute("UPDATE finance.suppliers SET blocked = true")
    assert [finding.rule for finding in check_supplier(invoice(), ready).findings] == ["MU-SUPPLIER-BLOCKED"]


def test_the_same_number_twice_in_a_run_is_a_duplicate(ready: SkillContext, tmp_path: Path) -> None:
    assert seen(ready, tmp_path, "a/1", 0, invoice(), "a" * 64).ok
    second = seen(ready, tmp_path, "a/1", 1, invoice(number="re-1 "), "b" * 64)
    assert severities(second) == [("same_number", "error")]
    assert seen(ready, tmp_path, "a/1", 0, invoice(), "a" * 64).ok, "a second attempt is no duplicate of the first"


def test_two_items_that_arrive_at_once_are_one_invoice_and_one_duplicate(ready: SkillContext, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(seen, ready, tmp_path, "a/1", n, invoice(), f"{n}" * 64) for n in range(4)]
        assert sorted(task.result().ok for task in tasks) == [False, False, False, True]


def test_the_same_file_under_another_number_is_a_duplicate(ready: SkillContext, tmp_path: Path) -> None:
    seen(ready, tmp_path, "a/1", 0, invoice(), "a" * 64)
    assert severities(seen(ready, tmp_path, "a/1", 1, invoice(number="X"), "a" * 64)) == [("same_file", "error")]


@pytest.mark.parametrize(
    ("number", "lines", "found"),
    [
        ("RE1", "99.00", [("similar_number", "warning")]),
        ("RE-1-B", "40.00", [("same_amount", "warning")]),
        ("RE-1-B", "99.00", []),
        ("4711", "40.00", []),
    ],
    ids=["punctuation", "same amount, similar number", "other amount", "other number"],
)
def test_likeness_is_a_warning(
    ready: SkillContext, tmp_path: Path, number: str, lines: str, found: list[tuple[str, str]]
) -> None:
    seen(ready, tmp_path, "a/1", 0, invoice(number="RE-1-A"[: 4 if number == "RE1" else 6]), "a" * 64)
    second = invoice(line(net_amount=lines), number=number)
    assert severities(seen(ready, tmp_path, "a/1", 1, second, "b" * 64)) == found


def test_another_supplier_may_use_the_same_number(ready: SkillContext, tmp_path: Path) -> None:
    seen(ready, tmp_path, "a/1", 0, invoice(), "a" * 64)
    other = invoice(seller={"name": "Acme Inc."}, payment=None)
    assert severities(seen(ready, tmp_path, "a/1", 1, other, "b" * 64)) == []


def test_what_is_posted_is_a_duplicate_for_every_later_run(ready: SkillContext, tmp_path: Path) -> None:
    post(ready)
    assert severities(seen(ready, tmp_path, "b/1", 0, invoice(), "c" * 64)) == [("same_number", "error")]


@pytest.mark.parametrize(("sha", "severity"), [("a" * 64, "information"), ("b" * 64, "warning")])
def test_what_came_before_and_was_not_posted_may_come_again(
    ready: SkillContext, tmp_path: Path, sha: str, severity: str
) -> None:
    seen(ready, tmp_path, "a/1", 0, invoice(), "a" * 64)
    assert severities(seen(ready, tmp_path, "b/1", 0, invoice(), sha)) == [("same_number", severity)]


def test_trying_a_skill_by_hand_leaves_no_trace(ready: SkillContext, tmp_path: Path) -> None:
    assert seen(ready, tmp_path, "try/1", 0, invoice(), "a" * 64).ok
    assert seen(ready, tmp_path, "a/1", 0, invoice(), "b" * 64).findings == []


def vet(ready: SkillContext, folder: Path, content: Invoice, settings: dict[str, Any] | None = None) -> VettedInvoice:
    made = context(ready.database, folder, "v/1", step="vet", settings=settings or SETTINGS)
    return vet_invoice(read(content), made)


def sound(**changes: Any) -> Invoice:
    """An invoice with all that the standard asks for."""
    address = {"city": "Kassel", "postal_code": "34119", "country": "DE"}
    seller = {"name": "Papierhaus Seidel GmbH", "vat_id": "DE812304528", "address": address}
    buyer = {"name": "Nordlicht & Söhne", "address": address}
    return invoice(**({"seller": seller, "buyer": buyer} | changes))


def test_a_sound_invoice_passes_with_its_supplier(ready: SkillContext, tmp_path: Path) -> None:
    result = vet(ready, tmp_path, sound())
    assert (result.ok, result.supplier.id, result.doubts) == (True, "seidel", [])


def test_an_invoice_made_out_to_another_company_is_doubted(ready: SkillContext, tmp_path: Path) -> None:
    settings = {"finance": {"company": {"name": "Nordlicht", "vat_id": "DE812304510"}}}
    content = sound()
    content = content.model_copy(update={"buyer": content.buyer.model_copy(update={"vat_id": "DE291447104"})})
    assert [doubt.rule for doubt in vet(ready, tmp_path, content, settings).doubts] == ["MU-BUYER"]


def test_every_reason_against_an_invoice_is_given_at_once(ready: SkillContext, tmp_path: Path) -> None:
    wrong = sound(
        totals={"line_total": "40.00", "net": "40.00", "vat": "7.60", "gross": "50.00", "due": "50.00"},
        payment={"credit_transfers": [{"account": "DE40999999990000666666"}]},
    )
    with pytest.raises(SetAside) as caught:
        vet(ready, tmp_path, wrong)
    assert {"BR-CO-15", "MU-IBAN-CHANGED"} <= {finding.rule for finding in caught.value.findings}


def test_a_wrong_invoice_may_be_corrected_under_its_number(ready: SkillContext, tmp_path: Path) -> None:
    with pytest.raises(SetAside):
        vet(ready, tmp_path, sound(totals={"net": "1.00", "vat": "7.60", "gross": "47.60"}))
    assert vet(ready, tmp_path, sound()).findings == []
