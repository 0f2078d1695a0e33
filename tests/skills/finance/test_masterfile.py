"""Promises of master data files: exact numbers, and a mistake is shown with its line and column."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.skills.finance import load_master_data
from muster.skills.finance.masterfile import MAX_BYTES, MasterFile
from support.ledger import context

BUNDLED = Path(__file__).parents[3] / "include" / "inbox" / "master-data.yaml"
LINE = '[{line: "1", description: D, quantity: %s, price: 1}]'
ORDER = "suppliers: [{id: s, name: S}]\norders: [{number: P, supplier: %s, ordered_on: 2026-01-01, lines: %s%s}]"
UNREACHABLE = Database("host=/nonexistent")
"""A wrong file is refused before the database is asked."""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "data.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_values_are_what_was_written() -> None:
    text = "on: [2026-03-04]\nprice: 12345678901234.1234\nmore: 1_000.50\nno: true\nname: off\n"
    assert MasterFile("data.yaml", text.encode()).data == {
        "on": [date(2026, 3, 4)],
        "price": Decimal("12345678901234.1234"),
        "more": Decimal("1000.50"),
        "no": True,
        "name": "off",
    }


def test_an_empty_file_holds_nothing() -> None:
    assert MasterFile("data.yaml", b"# nothing yet\n").data == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("suppliers:\n  - {id: s, name: S, vatid: X}\n", r"data\.yaml:2:\d+: suppliers\.0\.vatid: is not known here"),
        ("suppliers:\n  - id: s\n    name: 7\n", r"data\.yaml:3:11: suppliers\.0\.name: must be text"),
        ("suppliers:\n  - id: s\n", r"data\.yaml:2:5: suppliers\.0\.name: is missing"),
        ("suppliers: [{id: s, name: S, currency: EURO}]", r":1:\d+: suppliers\.0\.currency: .*ISO 4217"),
        ("suppliers: [{id: s, name: S, payment_days: -1}]", "payment_days: must be at least 0"),
        ("suppliers: [{id: s, name: S, payment_days: 99999}]", "payment_days: must be at most 3650"),
        ("orders: [{number: P, supplier: s, ordered_on: soon, lines: [x]}]", r"orders\.0\.ordered_on: .*date"),
        (ORDER % ("s", LINE % "-1", ""), r"lines\.0\.quantity: must be more than 0"),
        ("- just\n- a list\n", "This is not master data"),
        ("suppliers: [{id: s, name: S\n", r"data\.yaml:2:1: "),
        ("suppliers: []\nsuppliers: []\n", r"data\.yaml:2:1: the key 'suppliers' is written twice"),
        ("a: &a [1, 2]\nb: [*a, *a]\n", r"data\.yaml:2:5: aliases are not taken"),
        ("suppliers: !!python/object/apply:os.system [true]\n", r"data\.yaml:1:12: .*constructor"),
        (b"suppliers:\n  - {id: s, name: M\xfcller}\n", r"data\.yaml:2: byte 0xfc is not UTF-8"),
        ("suppliers: \x00", "not the YAML we take"),
        ("price: .inf\n", r"data\.yaml:1:8: '\.inf' is not a number"),
        ("a: " + "[" * 5000, "not the YAML we take"),
        (b"#" * (MAX_BYTES + 1), "larger than 10 MB"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        load_master_data(str(written(tmp_path, text)), context(UNREACHABLE, tmp_path))


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(PermanentError, match=r"no document .* that may be read"):
        load_master_data(str(tmp_path / name), context(UNREACHABLE, tmp_path))


def test_what_the_database_refuses_adds_nothing_at_all(database: Database, tmp_path: Path) -> None:
    receipt = ', receipts: [{number: G, received_on: 2026-01-02, lines: {"7": 1}}]'
    refused = {
        'suppliers: [{id: s, name: S, cost_centre: "9999"}]': "names something it does not hold.*9999",
        ORDER % ("nobody", LINE % 1, ""): "names something it does not hold.*nobody",
        ORDER % ("s", LINE % 1, receipt): "names something it does not hold",
        ORDER % ("s", LINE % "1e30", ""): "refuses: A field with precision 18",
        "suppliers: [{id: s, name: S, vat_id: X1}, {id: t, name: T, vat_id: x 1}]": "refuses.*X1",
    }
    for text, said in refused.items():
        with pytest.raises(PermanentError, match=said):
            load_master_data(
                str(written(tmp_path, 'cost_centres: [{code: "7777", name: New}]\n' + text)),
                context(database, tmp_path),
            )
    with database.connection() as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM finance.cost_centres), (SELECT count(*) FROM finance.suppliers)"
        ).fetchone()
    assert row == (0, 0)


def test_the_bundled_file_is_added_whole_and_only_once(database: Database, tmp_path: Path) -> None:
    made = context(database, tmp_path)
    first = load_master_data(BUNDLED.as_uri(), made)
    assert first.added["suppliers"] == 7
    assert first.added["coding_history"] == 3, "two days of one item, one day of another"
    assert load_master_data(str(BUNDLED), made).added == dict.fromkeys(first.added, 0)
    with database.connection() as connection:
        row = connection.execute("SELECT vat_id, iban FROM finance.suppliers, finance.supplier_accounts").fetchone()
    assert row is not None
