"""Promises of knowing a supplier: by what is only theirs, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from muster.skills.finance import check_supplier
from muster.skills.registry import SkillContext
from support.ledger import IBAN, company, invoice

OTHER_IBAN = "DE88999999990000200202"


@pytest.fixture
def ready(database: Database, tmp_path: Path) -> SkillContext:
    """The company, with a second supplier of Papierhaus Seidel's name."""
    made = company(database, tmp_path)
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO finance.suppliers (id, name, currency) VALUES ('branch', 'PAPIERHAUS Seidel GmbH', 'EUR')"
        )
        connection.execute(
            "INSERT INTO finance.supplier_accounts VALUES ('branch', %s, '2024-01-15'), ('branch', %s, '2024-01-15')",
            (OTHER_IBAN, IBAN),
        )
    return made


def test_a_name_that_two_suppliers_share_says_nothing(ready: SkillContext) -> None:
    check = check_supplier(invoice(seller={"name": "Papierhaus Seidel GmbH"}, payment=None), ready)
    assert check.supplier is None
    assert [finding.rule for finding in check.findings] == ["MU-SUPPLIER-UNKNOWN"]


def test_an_account_that_two_suppliers_share_says_nothing(ready: SkillContext) -> None:
    assert check_supplier(invoice(seller={"name": "?"}), ready).supplier is None
    own = {"credit_transfers": [{"account": OTHER_IBAN}]}
    check = check_supplier(invoice(seller={"name": "?"}, payment=own), ready)
    assert check.supplier is not None
    assert (check.supplier.id, check.matched_by) == ("branch", "iban")


def test_the_vat_id_tells_namesakes_apart(ready: SkillContext) -> None:
    check = check_supplier(invoice(), ready)
    assert check.supplier is not None
    assert (check.supplier.id, check.matched_by, check.ok) == ("seidel", "vat_id", True)


@pytest.mark.parametrize(
    ("vat_id", "rules"),
    [
        ("DE812304529", ["MU-SUPPLIER-UNKNOWN", "MU-SUPPLIER-VAT"]),
        ("DE291447104", ["MU-SUPPLIER-UNKNOWN"]),
        ("US123", ["MU-SUPPLIER-UNKNOWN"]),
        ("'; DROP TABLE finance.suppliers; --", ["MU-SUPPLIER-UNKNOWN"]),
    ],
    ids=["wrong check digit", "right check digit", "no such scheme", "hostile"],
)
def test_an_unknown_seller_s_vat_id_is_held_against_its_check_digit(
    ready: SkillContext, vat_id: str, rules: list[str]
) -> None:
    check = check_supplier(invoice(seller={"name": "Nobody", "vat_id": vat_id}, payment=None), ready)
    assert [finding.rule for finding in check.findings] == rules
    assert not check.ok


def test_a_payee_other_than_the_seller_is_for_a_person_to_judge(ready: SkillContext) -> None:
    check = check_supplier(invoice(payee={"name": "Factoring Bank AG"}), ready)
    assert [(finding.rule, finding.severity) for finding in check.findings] == [("MU-PAYEE", "warning")]
    assert check.ok
