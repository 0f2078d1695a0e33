"""Promises of master data and settings: loaded once, whole or not at all, and mistakes are named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.skills.finance import load_master_data
from muster.skills.finance.money import cents, share
from muster.skills.finance.policy import policy_of
from support.ledger import MASTER_DATA, company, context


def test_loading_again_adds_nothing_and_changes_nothing(database: Database, tmp_path: Path) -> None:
    ready = company(database, tmp_path)
    with database.connection() as connection:
        connection.execute("UPDATE finance.suppliers SET name = 'Renamed' WHERE id = 'seidel'")
    assert set(load_master_data(str(tmp_path / "master-data.yaml"), ready).added.values()) == {0}
    with database.connection() as connection:
        assert connection.execute("SELECT name FROM finance.suppliers WHERE id = 'seidel'").fetchone() == ("Renamed",)


def test_two_that_load_at_once_load_once(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(
        MASTER_DATA.replace("ibans: {DE", 'codings: [{item: PS-1, cost_centre: "2000", on: [2026-01-01]}], ibans: {DE')
    )
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(load_master_data, path.as_uri(), context(database, tmp_path)) for _ in range(2)]
        added = [task.result().added for task in tasks]
    assert sorted(each["suppliers"] for each in added) == [0, 2]
    assert sorted(each["coding_history"] for each in added) == [0, 1]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("suppliers: [{id: a, name: A, colour: red}]", "suppliers.0.colour"),
        ("suppliers: [{id: a, name: A, currency: EURO}]", "suppliers.0.currency"),
        ("orders: [{number: '1', supplier: nobody, ordered_on: 2026-01-01, lines: [{line: '1', description: x,"
         " quantity: 1, price: 1}]}]", "nobody"),
        ("[", "data.yaml"),
        (None, "data.yaml"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_nothing_is_added(
    database: Database, tmp_path: Path, text: str | None, named: str
) -> None:
    path = tmp_path / "data.yaml"
    if text is not None:
        path.write_text("cost_centres: [{code: '1000', name: X}]\n" + text if text != "[" else text)
    with pytest.raises(PermanentError, match=named):
        load_master_data(str(path), context(database, tmp_path))
    with database.connection() as connection:
        assert connection.execute("SELECT count(*) FROM finance.cost_centres").fetchone() == (0,)


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(PermanentError, match=r"finance\.tolerances\.price_percent"):
        policy_of({"finance": {"tolerances": {"price_percent": -1}}})
    with pytest.raises(PermanentError, match=r"finance\.aproval_limit"):
        policy_of({"finance": {"aproval_limit": 1}})


def test_amounts_in_settings_are_exact() -> None:
    assert policy_of({"finance": {"tolerances": {"price_amount": 0.05}}}).tolerances.price_amount == Decimal("0.05")


@pytest.mark.parametrize(("amount", "rounded"), [("0.005", "0.01"), ("-0.005", "-0.01"), ("2.665", "2.67")])
def test_cents_round_half_up(amount: str, rounded: str) -> None:
    assert cents(Decimal(amount)) == Decimal(rounded)


@pytest.mark.parametrize("weights", [["1", "1", "1"], ["0", "0"], ["-1", "1"], ["0.01", "99"], ["5"]])
def test_what_is_shared_out_adds_up_again(weights: list[str]) -> None:
    parts = share(Decimal("10.00"), [Decimal(weight) for weight in weights])
    assert sum(parts) == Decimal("10.00")
    assert len(parts) == len(weights)
