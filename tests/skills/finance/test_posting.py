"""Promises of posting: each invoice once, balanced to the cent, and taken back only by a mirror image."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.errors import PermanentError, SetAside
from muster.skills.finance import (
    Posting,
    find_duplicates,
    match_order,
    post_to_ledger,
    propose_payment,
    reverse_posting,
)
from muster.skills.registry import SkillContext
from support.ledger import coding, company, context, invoice, line, post, post_in_a_process, read, vetted

Sides = dict[tuple[str, str | None], tuple[Decimal, Decimal]]


@pytest.fixture
def ready(database: Database, tmp_path: Path) -> SkillContext:
    return company(database, tmp_path)


def sides(posting: Posting) -> Sides:
    return {(entry.account, entry.cost_centre): (entry.debit, entry.credit) for entry in posting.entries}


def count(database: Database, table: str) -> int:
    with database.connection() as connection:
        row = connection.execute(f"SELECT count(*) FROM finance.{table}").fetchone()
    assert row is not None
    found: int = row[0]
    return found


def test_an_invoice_is_expense_and_input_vat_against_payables(ready: SkillContext) -> None:
    content = invoice(line("1"), line("2", net_amount="60.00"))
    posting = post_to_ledger(vetted(ready.database, content), coding("2000", "4000"), ready)
    assert sides(posting) == {
        ("6300", "2000"): (Decimal("40.00"), 0),
        ("6300", "4000"): (Decimal("60.00"), 0),
        ("1400", None): (Decimal("19.00"), 0),
        ("3300", None): (0, Decimal("119.00")),
    }
    assert all(isinstance(entry.debit, Decimal) for entry in posting.entries)


def test_a_credit_note_is_posted_the_other_way_round(ready: SkillContext) -> None:
    posting = post(ready, invoice(type_code="381"))
    assert sides(posting)["3300", None] == (Decimal("47.60"), 0)
    assert sides(posting)["6300", "2000"] == (0, Decimal("40.00"))
    assert posting.due == Decimal("-47.60")


def test_a_discount_on_the_whole_is_shared_out_to_the_cent(ready: SkillContext) -> None:
    lines = [line(str(number), net_amount="33.33") for number in (1, 2, 3)]
    totals = {"net": "89.99", "vat": "17.10", "gross": "107.09"}
    content = invoice(*lines, totals=totals, allowances=[{"amount": "10.00"}])
    posting = post_to_ledger(vetted(ready.database, content), coding("2000", "3000", "4000"), ready)
    expense = [entry.debit for entry in posting.entries if entry.account == "6300"]
    assert sum(expense) == Decimal("89.99")
    assert max(expense) - min(expense) <= Decimal("0.01")


def test_an_invoice_without_lines_is_posted_as_one(ready: SkillContext) -> None:
    content = invoice(totals={"vat": "19.00", "gross": "119.00"}).model_copy(update={"lines": []})
    posting = post(ready, content)
    assert sides(posting)["6300", "2000"] == (Decimal("100.00"), 0)


def test_the_same_work_again_gives_the_same_posting(ready: SkillContext) -> None:
    first, again = post(ready), post(ready)
    assert again == first
    assert not again.already_posted
    assert count(ready.database, "postings") == 1


def test_another_run_is_given_the_first_posting(ready: SkillContext, tmp_path: Path) -> None:
    first = post(ready)
    second = post(context(ready.database, tmp_path, "invoices/2"))
    assert (second.id, second.already_posted) == (first.id, True)
    assert second.entries == first.entries


def test_spaces_and_case_do_not_make_another_invoice(ready: SkillContext, tmp_path: Path) -> None:
    first = post(ready, invoice(number="RE-1 a"))
    second = post(context(ready.database, tmp_path, "invoices/2"), invoice(number="re-1A"))
    assert second.id == first.id


@pytest.mark.parametrize("received", [False, True], ids=["new to the register", "received before"])
def test_two_processes_that_post_at_once_post_once(
    ready: SkillContext, dsn: str, tmp_path: Path, received: bool
) -> None:
    for number in range(10 * received):
        find_duplicates(read(invoice(number=f"RE-{number}")), ready)
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(2), spawn.Queue()
    processes = [
        spawn.Process(target=post_in_a_process, args=(dsn, tmp_path, run, barrier, results)) for run in ("a/1", "b/1")
    ]
    for process in processes:
        process.start()
    found = sorted(results.get(timeout=60) for _ in range(20))
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert count(ready.database, "postings") == 10
    for number in range(10):
        first, second = [entry for entry in found if entry[0] == f"RE-{number}"]
        assert first[1] == second[1]
        assert [first[2], second[2]] == [False, True]


@pytest.mark.parametrize(
    ("insert", "why"),
    [
        ("(1, '6300', 100, 0), (2, '3300', 0, 99.99)", "a cent is missing"),
        ("(1, '6300', 100, 0)", "one entry cannot balance"),
        ("(1, '6300', 100, 100)", "an entry has one side"),
        ("(1, '6300', -5, 0), (2, '3300', 0, -5)", "amounts are not negative"),
    ],
)
def test_the_database_refuses_what_does_not_balance(ready: SkillContext, dsn: str, insert: str, why: str) -> None:
    # One statement for both tables: the check waits for the commit.
    statement = f"""
        WITH p AS (INSERT INTO finance.postings (dated, currency, text, key)
                   VALUES ('2026-10-01', 'EUR', 't', 'k') RETURNING id)
        INSERT INTO finance.entries (posting_id, line, account, debit, credit)
        SELECT p.id, v.* FROM p, (VALUES {insert}) v"""
    with pytest.raises(psycopg.errors.CheckViolation), psycopg.connect(dsn) as connection:
        connection.execute(statement)
    assert count(ready.database, "postings") == 0, why


def test_the_database_refuses_a_posting_without_entries(ready: SkillContext, dsn: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="does not balance"), psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO finance.postings (dated, currency, text, key) VALUES ('2026-10-01', 'EUR', 't', 'k')"
        )


@pytest.mark.parametrize(
    "statement",
    ["UPDATE finance.entries SET debit = 1", "DELETE FROM finance.entries", "UPDATE finance.postings SET text = ''"],
)
def test_what_is_posted_cannot_be_changed(ready: SkillContext, dsn: str, statement: str) -> None:
    post(ready)
    with pytest.raises(psycopg.errors.RestrictViolation), psycopg.connect(dsn) as connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"totals": {"net": "40.00", "vat": "7.60", "gross": "48.00"}}, "BR-CO-15"),
        ({"totals": {"net": "-40.00", "vat": "-7.60", "gross": "-47.60"}}, "MU-TOTAL-NEGATIVE"),
        ({"totals": {"net": "0", "vat": "0", "gross": "0"}}, "MU-TOTAL-NEGATIVE"),
        ({"totals": {"gross": "47.60"}}, "MU-INCOMPLETE"),
        ({"totals": {"net": "40.001", "vat": "7.599", "gross": "47.600"}}, "BR-DEC-23"),
        ({"number": None}, "MU-INCOMPLETE"),
    ],
)
def test_what_cannot_be_posted_is_set_aside(ready: SkillContext, changes: dict[str, object], rule: str) -> None:
    with pytest.raises(SetAside) as caught:
        post(ready, invoice(**changes))
    assert [finding.rule for finding in caught.value.findings] == [rule]
    assert count(ready.database, "postings") == 0


@pytest.mark.parametrize("centres", [(), ("2000", "2000"), ("9999",)])
def test_a_coding_that_does_not_fit_posts_nothing(ready: SkillContext, centres: tuple[str, ...]) -> None:
    content = invoice(line("1"), line("2")) if not centres else invoice()
    with pytest.raises(SetAside) as caught:
        post_to_ledger(vetted(ready.database, content), coding(*centres), ready)
    assert caught.value.findings[0].rule == "MU-COST-CENTRE"
    assert count(ready.database, "postings") == 0


def test_an_unknown_account_is_a_mistake_of_the_settings(ready: SkillContext, tmp_path: Path) -> None:
    wrong = context(ready.database, tmp_path, settings={"finance": {"accounts": {"payables": "9"}}})
    with pytest.raises(PermanentError, match="9"):
        post(wrong)


def test_a_reversal_mirrors_the_posting_and_frees_the_invoice(ready: SkillContext, tmp_path: Path) -> None:
    first = post(ready, match=match_order(invoice(), ready))
    undo = context(ready.database, tmp_path, step="undo")
    reversal = reverse_posting(undo, first.id)
    assert reverse_posting(undo, first.id).id == reversal.id
    assert reverse_posting(undo, first.id).already_reversed
    with ready.database.connection() as connection:
        rows = connection.execute(
            "SELECT account, cost_centre, sum(debit - credit) FROM finance.entries GROUP BY 1, 2"
        ).fetchall()
    assert {row[2] for row in rows} == {0}
    assert count(ready.database, "order_billings") == 0
    again = post(ready)
    assert again.id not in (first.id, reversal.id)
    assert not again.already_posted


def test_two_that_reverse_at_once_reverse_once(ready: SkillContext) -> None:
    posting = post(ready)
    with ThreadPoolExecutor(2) as pool:
        found = [task.result() for task in [pool.submit(reverse_posting, ready, posting.id) for _ in range(2)]]
    assert {each.id for each in found} == {found[0].id}
    assert sorted(each.already_reversed for each in found) == [False, True]


@pytest.mark.parametrize("prepare", [lambda ready, id: 999, lambda ready, id: reverse_posting(ready, id).id])
def test_what_is_no_posting_of_an_invoice_is_not_reversed(
    ready: SkillContext, prepare: Callable[[SkillContext, int], int]
) -> None:
    with pytest.raises(PermanentError):
        reverse_posting(ready, prepare(ready, post(ready).id))


def test_what_is_in_a_payment_file_is_not_reversed(ready: SkillContext) -> None:
    posting = post(ready)
    propose_payment([posting], ready)
    with pytest.raises(PermanentError, match="payment file"):
        reverse_posting(ready, posting.id)


@pytest.mark.parametrize("posting", ["NULL", "(SELECT max(id) FROM finance.postings)"])
def test_the_database_refuses_to_forget_a_posting(ready: SkillContext, dsn: str, tmp_path: Path, posting: str) -> None:
    post(ready)
    post(context(ready.database, tmp_path, index=1), invoice(number="RE-2"))
    reverse_posting(ready, 2)
    key = "NULL" if posting == "NULL" else "'x'"
    statement = f"UPDATE finance.invoices SET posting_id = {posting}, posting_key = {key} WHERE number = 'RE-1'"
    with pytest.raises(psycopg.errors.CheckViolation, match="is posted as 1"), psycopg.connect(dsn) as connection:
        connection.execute(statement)


def test_two_invoices_cannot_bill_the_same_goods(ready: SkillContext, tmp_path: Path) -> None:
    toner = line(quantity="8", net_price="60.00", net_amount="480.00", order_line_reference="20")
    first, second = invoice(toner, number="RE-1"), invoice(toner, number="RE-2")
    matches = [match_order(each, ready) for each in (first, second)]
    assert [match.discrepancies for match in matches] == [[], []], "neither knows of the other yet"
    post(ready, first, matches[0])
    with pytest.raises(SetAside) as caught:
        post(context(ready.database, tmp_path, index=1), second, matches[1])
    assert caught.value.findings[0].rule == "MU-ORDER-BILLED"
    assert count(ready.database, "postings") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"totals": {"net": "400.00", "vat": "76.00", "gross": "476.00"}},
        {"totals": {"net": "44.00", "vat": "3.60", "gross": "47.60"}},
        {"type_code": "381"},
    ],
    ids=["another amount", "another VAT", "a credit note"],
)
def test_another_amount_under_a_posted_number_is_not_taken_for_it(
    ready: SkillContext, tmp_path: Path, changes: dict[str, object]
) -> None:
    post(ready)
    with pytest.raises(SetAside) as caught:
        post(context(ready.database, tmp_path, "invoices/2"), invoice(**changes))
    assert [finding.rule for finding in caught.value.findings] == ["MU-DUPLICATE"]
    assert count(ready.database, "postings") == 1


def test_work_that_posted_one_invoice_cannot_post_another(ready: SkillContext) -> None:
    post(ready)
    with pytest.raises(PermanentError, match="has posted another invoice before"):
        post(ready, invoice(number="RE-2"))
    assert count(ready.database, "postings") == 1


def test_the_database_keeps_an_invoice_to_one_entry_and_one_posting(ready: SkillContext, dsn: str) -> None:
    posting = post(ready)
    columns = "supplier_id, number, number_key, issue_date, gross, currency, sha256, source, received_by"
    again = f"INSERT INTO finance.invoices ({columns}) SELECT {columns} FROM finance.invoices"
    taken = (
        f"INSERT INTO finance.invoices ({columns}, posting_id, posting_key) SELECT supplier_id, 'X', 'X', issue_date,"
        f" gross, currency, sha256, source, received_by, {posting.id}, 'other' FROM finance.invoices"
    )
    for statement in (again, taken):
        with pytest.raises(psycopg.errors.UniqueViolation), psycopg.connect(dsn) as connection:
            connection.execute(statement)


def test_a_compensation_reverses_what_its_own_work_posted_and_nothing_else(ready: SkillContext, tmp_path: Path) -> None:
    undo = replace(ready, key=f"{ready.key}/undo", undoes=ready.key)
    assert reverse_posting(undo).id is None, "it may never have happened"
    first = post(ready)
    other = context(ready.database, tmp_path, run="invoices/2")
    assert post(other).already_posted
    assert reverse_posting(replace(other, undoes=other.key)).id is None, "another run's posting stays"
    assert reverse_posting(undo).reverses == first.id
    assert reverse_posting(undo).already_reversed
    with pytest.raises(PermanentError, match="no telling what to reverse"):
        reverse_posting(ready)
