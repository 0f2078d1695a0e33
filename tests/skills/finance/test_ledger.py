"""Promises of the ledger: whatever the lines, rates and rounding, a posting balances to the cent."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from muster.errors import SetAside
from muster.skills.finance.invoice import Invoice
from muster.skills.finance.ledger import LARGEST, entries_for, write_posting
from muster.skills.finance.money import CENT, cents, share
from muster.skills.finance.policy import Accounts
from support.ledger import coding, invoice, line

amounts = st.decimals(min_value=-5_000, max_value=50_000, places=2)
rates = st.sampled_from([Decimal(0), Decimal(7), Decimal("5.5"), Decimal(19), Decimal("8.1"), Decimal("33.33")])
centres = st.sampled_from(["2000", "3000", "4000"])
charged = st.lists(st.tuples(amounts, rates, centres), min_size=1, max_size=12)


def document(items: list[tuple[Decimal, Decimal, str]], beside: Decimal, kind: str) -> Invoice:
    """An invoice over the items, with an allowance or charge on the whole, as its seller would add it up."""
    lines = [line(str(number), net_amount=net) for number, (net, _, _) in enumerate(items, 1)]
    net = sum((net for net, _, _ in items), beside)
    taxed: dict[Decimal, Decimal] = defaultdict(Decimal)
    for amount, rate, _ in items:
        taxed[rate] += amount
    vat = sum((cents(base * rate / 100) for rate, base in taxed.items()), Decimal(0))
    return invoice(*lines, type_code=kind, totals={"net": net, "vat": vat, "gross": net + vat, "due": net + vat})


@given(charged, st.decimals(min_value=-500, max_value=500, places=2), st.sampled_from(["380", "381"]))
def test_a_posting_balances_to_the_cent_over_any_lines_and_rates(
    items: list[tuple[Decimal, Decimal, str]], beside: Decimal, kind: str
) -> None:
    content = document(items, beside, kind)
    gross, vat = content.totals.gross, content.totals.vat
    assert gross is not None
    assert vat is not None
    assume(gross > 0)
    entries = entries_for(content, coding(*(centre for _, _, centre in items)), Accounts())
    assert sum(entry.debit for entry in entries) == sum(entry.credit for entry in entries)
    sign = -1 if kind == "381" else 1
    balances = {(entry.account, entry.cost_centre): entry.debit - entry.credit for entry in entries}
    assert balances["3300", None] == -sign * gross
    assert balances.get(("1400", None), Decimal(0)) == sign * vat
    for entry in entries:
        assert isinstance(entry.debit, Decimal)
        assert isinstance(entry.credit, Decimal)
        assert (entry.debit > 0) != (entry.credit > 0), "one side each, never negative"
        assert (entry.debit + entry.credit) % CENT == 0


@given(amounts, st.lists(amounts, min_size=1, max_size=12))
def test_what_is_shared_out_is_cents_that_add_up(amount: Decimal, weights: list[Decimal]) -> None:
    parts = share(amount, weights)
    assert sum(parts) == amount
    assert all(part % CENT == 0 for part in parts)


@given(st.decimals(min_value=0, max_value=10_000, places=2), st.lists(st.integers(1, 9_999), min_size=1, max_size=12))
def test_a_share_is_as_near_to_its_proportion_as_cents_allow(amount: Decimal, weights: list[int]) -> None:
    parts = share(amount, [Decimal(weight) for weight in weights])
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - amount * weight / sum(weights)) <= CENT * len(weights) / 2


@pytest.mark.parametrize(
    "changes",
    [
        {"net_amount": LARGEST + CENT},
        {"net_amount": "-1e20"},
        {"quantity": "1e40"},
        {"net_amount": None, "quantity": "1e13", "net_price": "1e13"},
    ],
)
def test_what_no_column_holds_is_set_aside(changes: dict[str, object]) -> None:
    totals = {"net": "40.00", "vat": "7.60", "gross": "47.60"}
    with pytest.raises(SetAside) as caught:
        entries_for(invoice(line(**changes), totals=totals), coding(), Accounts())  # type: ignore[arg-type]
    assert [finding.rule for finding in caught.value.findings] == ["MU-TOO-LARGE"]


def test_nothing_of_the_ledger_can_be_changed_emptied_or_added_to_later(dsn: str) -> None:
    content = invoice()
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO finance.cost_centres (code, name) VALUES ('2000', 'Office')")
        entries = entries_for(content, coding(), Accounts())
        posting = write_posting(
            connection, entries, key="k", dated=date(2026, 9, 3), currency="EUR", text="by the test"
        )
    for statement in (
        "UPDATE finance.postings SET dated = '2026-01-01'",
        "UPDATE finance.entries SET cost_centre = NULL",
        "DELETE FROM finance.postings",
        "DELETE FROM finance.entries WHERE false",
        "TRUNCATE finance.entries",
        "TRUNCATE finance.postings CASCADE",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation), psycopg.connect(dsn) as connection:
            connection.execute(statement)  # type: ignore[arg-type]
    with pytest.raises(psycopg.errors.CheckViolation), psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO finance.entries (posting_id, line, account, debit) VALUES (%s, 9, '6300', 1)", (posting,)
        )
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT count(*), sum(debit), sum(credit) FROM finance.entries").fetchone()
    assert row == (3, Decimal("47.60"), Decimal("47.60"))
