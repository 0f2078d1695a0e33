"""Promises of the finance settings: every mistake names its setting, and every amount is exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from muster.errors import PermanentError
from muster.skills.finance.policy import FinancePolicy, policy_of


@pytest.mark.parametrize(
    ("finance", "named"),
    [
        ({"approval_limit": -1}, "finance.approval_limit: "),
        ({"approval_limit": "much"}, "finance.approval_limit: "),
        ({"aproval_limit": 1}, "finance.aproval_limit: "),
        ({"base_currency": "Euro"}, "finance.base_currency: "),
        ({"company": {"vat_id": "DE812304510"}}, "finance.company.name: "),
        ({"company": {"name": "N", "iban": "DE00999999990000100100"}}, "finance.company.iban: "),
        ({"tolerances": {"price_percent": -1}}, "finance.tolerances.price_percent: "),
        ({"tolerances": {"price": 1}}, "finance.tolerances.price: "),
        ({"accounts": {"payables": 3300}}, "finance.accounts.payables: "),
        ({"approvers": "finance-lead"}, "finance.approvers: "),
        ("nothing", "finance"),
    ],
)
def test_a_wrong_setting_is_named(finance: Any, named: str) -> None:
    with pytest.raises(PermanentError) as caught:
        policy_of({"finance": finance})
    assert named in caught.value.message
    assert caught.value.remedy == "Correct settings.yaml."


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(PermanentError) as caught:
        policy_of({"finance": {"approval_limit": -1, "accounts": {"cash": "1000"}}})
    assert "finance.approval_limit" in caught.value.message
    assert "finance.accounts.cash" in caught.value.message


@pytest.mark.parametrize("settings", [{}, {"finance": None}, {"inbox": "inbox", "finance": {}}])
def test_without_settings_the_defaults_hold(settings: dict[str, Any]) -> None:
    assert policy_of(settings) == FinancePolicy()


def test_amounts_are_what_was_written() -> None:
    policy = policy_of({"finance": {"approval_limit": "0.10", "tolerances": {"price_percent": 0.1}}})
    assert policy.approval_limit == Decimal("0.10")
    assert policy.tolerances.price_percent == Decimal("0.1")


def test_the_company_s_account_is_taken_with_or_without_spaces() -> None:
    company = policy_of({"finance": {"company": {"name": "N", "iban": "DE34 9999 9999 0000 1001 00"}}}).company
    assert company is not None
    assert company.iban == "DE34999999990000100100"
