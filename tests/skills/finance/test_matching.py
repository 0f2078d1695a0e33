"""Promises of matching: tolerances hold to the cent, and what was billed before counts."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.skills.finance import OrderMatch, match_order
from muster.skills.finance.invoice import InvoiceLine
from muster.skills.registry import SkillContext
from support.ledger import company, context, invoice, line, post


@pytest.fixture
def ready(database: Database, tmp_path: Path) -> SkillContext:
    return company(database, tmp_path)


def kinds(match: OrderMatch) -> list[str]:
    return [discrepancy.kind for discrepancy in match.discrepancies]


def billed(quantity: str, amount: str, **changes: Any) -> InvoiceLine:
    return line(quantity=quantity, net_amount=amount, **changes)


def test_what_was_ordered_and_received_matches_three_ways(ready: SkillContext) -> None:
    match = match_order(invoice(billed("100", "400.00")), ready)
    assert (match.kind, match.order, match.discrepancies) == ("three_way", "PO-1", [])
    assert match.lines[0].received == 100
    assert match.total == Decimal("476.00")


def test_without_receipts_the_order_alone_counts(ready: SkillContext) -> None:
    match = match_order(invoice(billed("100", "400.00"), order_reference="po-2 "), ready)
    assert (match.kind, match.discrepancies) == ("two_way", [])
    assert match.lines[0].received == 0


@pytest.mark.parametrize(
    ("amount", "found"),
    [("408.00", []), ("408.01", ["price"]), ("392.00", []), ("391.99", ["price"])],
    ids=["2 % more", "a cent beyond", "2 % less", "a cent below"],
)
def test_a_price_may_be_off_by_its_tolerance_and_not_a_cent_more(
    ready: SkillContext, amount: str, found: list[str]
) -> None:
    match = match_order(invoice(billed("100", amount)), ready)
    assert kinds(match) == found
    assert sum(abs(each.amount) for each in match.discrepancies) == (Decimal(amount) - 400).copy_abs() * bool(found)


def test_small_lines_are_held_to_the_amount_not_the_percentage(ready: SkillContext) -> None:
    assert kinds(match_order(invoice(billed("0.5", "2.05")), ready)) == []
    assert kinds(match_order(invoice(billed("0.5", "2.06")), ready)) == ["price"]


@pytest.mark.parametrize(("quantity", "found"), [("105", []), ("105.01", ["quantity"])])
def test_a_quantity_may_be_off_by_its_tolerance(
    database: Database, tmp_path: Path, ready: SkillContext, quantity: str, found: list[str]
) -> None:
    lenient = context(database, tmp_path, settings={"finance": {"tolerances": {"quantity_percent": 5}}})
    amount = str((Decimal(quantity) * 4).quantize(Decimal("0.01")))
    assert kinds(match_order(invoice(billed(quantity, amount)), lenient)) == found


def test_more_than_ordered_is_too_much_and_more_than_received_is_not_received(ready: SkillContext) -> None:
    assert kinds(match_order(invoice(billed("101", "404.00")), ready)) == ["quantity"]
    match = match_order(invoice(billed("10", "600.00", order_line_reference="20")), ready)
    assert kinds(match) == ["not_received"]
    missing = match.discrepancies[0]
    assert (missing.expected, missing.actual, missing.amount) == (8, 10, Decimal("120.00"))


def test_two_lines_over_one_order_line_are_too_much_together(ready: SkillContext) -> None:
    match = match_order(invoice(billed("60", "240.00"), billed("60", "240.00", id="2")), ready)
    assert kinds(match) == ["quantity"]


def test_what_earlier_invoices_billed_is_no_longer_open(ready: SkillContext) -> None:
    first = invoice(billed("70", "280.00"))
    post(ready, first, match_order(first, ready))
    match = match_order(invoice(billed("31", "124.00"), number="RE-2"), ready)
    assert kinds(match) == ["quantity"]
    assert match.lines[0].billed_before == 70
    assert kinds(match_order(invoice(billed("30", "120.00"), number="RE-2"), ready)) == []


@pytest.mark.parametrize(
    ("item", "reference", "by"),
    [
        ({"name": "anything"}, "20", "reference"),
        ({"name": "anything", "seller_id": "PS-2"}, None, "item"),
        ({"name": "Toner-Cartridge, black"}, None, "description"),
        ({"name": "Toner", "description": "Toner cartridge (black)"}, "99", "description"),
    ],
)
def test_a_line_is_found_by_reference_then_item_then_words(
    ready: SkillContext, item: dict[str, str], reference: str | None, by: str
) -> None:
    toner = billed("8", "480.00", item=item, order_line_reference=reference)
    match = match_order(invoice(toner), ready)
    assert [(each.order_line, each.by) for each in match.lines] == [("20", by)]
    assert match.discrepancies == []


def test_what_was_never_ordered_is_said(ready: SkillContext) -> None:
    gift = line("2", item={"name": "Coffee machine"}, order_line_reference=None, net_amount="900.00")
    match = match_order(invoice(line(), gift), ready)
    assert kinds(match) == ["not_ordered"]
    assert match.discrepancies[0].amount == Decimal("900.00")


def test_charges_beside_the_lines_are_said(ready: SkillContext) -> None:
    totals = {"net": "90.00", "vat": "17.10", "gross": "107.10", "charge_total": "50.00"}
    match = match_order(invoice(totals=totals, charges=[{"amount": "50.00"}]), ready)
    assert kinds(match) == ["charge"]


def test_an_invoice_without_lines_is_held_against_what_is_open(ready: SkillContext) -> None:
    totals = {"net": "880.00", "vat": "167.20", "gross": "1047.20"}
    whole = invoice(totals=totals).model_copy(update={"lines": []})
    assert kinds(match_order(whole, ready)) == []
    less = invoice(totals=totals | {"net": "500.00"}).model_copy(update={"lines": []})
    assert kinds(match_order(less, ready)) == ["total"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"order_reference": None}, ["no_order"]),
        ({"order_reference": "PO-77"}, ["unknown_order"]),
        ({"currency": "USD"}, ["currency"]),
        ({"type_code": "381"}, ["credit_note"]),
        ({"seller": {"name": "Acme Inc."}, "payment": None}, ["other_supplier"]),
        ({"seller": {"name": "Acme Inc."}, "payment": None, "order_reference": None}, []),
    ],
)
def test_what_cannot_be_compared_is_said(ready: SkillContext, changes: dict[str, Any], found: list[str]) -> None:
    match = match_order(invoice(**changes), ready)
    assert kinds(match) == found
    assert (match.kind, match.lines) == ("none", [])


def test_every_figure_of_a_match_is_a_decimal(ready: SkillContext) -> None:
    match = match_order(invoice(billed("100", "450.00"), issue_date=date(2026, 9, 1)), ready)
    figures = [match.total, *match.lines[0].model_dump(include={"quantity", "amount", "expected_amount"}).values()]
    figures += [match.discrepancies[0].expected, match.discrepancies[0].actual, match.discrepancies[0].amount]
    assert all(isinstance(figure, Decimal) for figure in figures)


def test_a_charge_hidden_in_an_allowance_below_zero_is_said(ready: SkillContext) -> None:
    totals = {"net": "90.00", "vat": "17.10", "gross": "107.10", "allowance_total": "-50.00"}
    match = match_order(invoice(totals=totals, allowances=[{"amount": "-50.00"}]), ready)
    assert [(each.kind, each.amount) for each in match.discrepancies] == [("charge", Decimal("50.00"))]
