"""The company's finance settings: the part `finance` of `settings.yaml`, with its types and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, field_validator

from muster.errors import PermanentError
from muster.misfits import misfits
from muster.skills.finance.invoice import Currency
from muster.yaml_model import YamlModel


class _Setting(YamlModel):
    """Settings hold amounts as YAML numbers, and the log holds them as text."""

    model_config = ConfigDict(strict=False)


class Company(_Setting):
    """The company whose invoices these are."""

    name: str
    """The name payments are made in."""
    vat_id: str | None = None
    """Its VAT id, with the country prefix; invoices made out to another are questioned."""
    iban: str | None = None
    """The account payments are made from; without one no payment is proposed."""
    bic: str | None = None
    """The account's bank; optional within SEPA."""

    @field_validator("iban")
    @classmethod
    def _is_account(cls, iban: str | None) -> str | None:
        from schwifty import IBAN

        return None if iban is None else str(IBAN(iban))


class Tolerances(_Setting):
    """How far an invoice may be from its order before a person is asked; the wider of percent and amount holds."""

    price_percent: Decimal = Field(default=Decimal(2), ge=0)
    """Of what the line should cost at the order's price."""
    price_amount: Decimal = Field(default=Decimal("0.05"), ge=0)
    """Of a line, in the invoice's currency."""
    quantity_percent: Decimal = Field(default=Decimal(0), ge=0)
    """Of what was received (or ordered, where no receipt is needed)."""


class Accounts(_Setting):
    """The ledger accounts invoices are posted to."""

    expense: str = "6300"
    """Where a line goes whose coding names no account."""
    input_vat: str = "1400"
    """VAT the company may reclaim."""
    payables: str = "3300"
    """What is owed to suppliers."""


class FinancePolicy(_Setting):
    """What the finance skills need to know of the company."""

    company: Company | None = None
    """The company; needed to propose payments."""
    base_currency: Currency = "EUR"
    """The currency of suppliers and orders whose master data name none."""
    approval_limit: Decimal = Field(default=Decimal(5000), ge=0)
    """Invoices above this gross amount are put to a person."""
    approvers: list[str] = []
    """Who may approve."""
    tolerances: Tolerances = Tolerances()
    """How far an invoice may be from its order."""
    accounts: Accounts = Accounts()
    """Where invoices are posted."""


def policy_of(settings: Mapping[str, Any]) -> FinancePolicy:
    """The part `finance` of the settings.

    Raises:
        PermanentError: a setting is unknown or of the wrong type; the message names each.
    """
    try:
        return FinancePolicy.model_validate(settings.get("finance") or {})
    except ValidationError as error:
        wrong = "; ".join(f"finance.{misfit}" for misfit in misfits(error))
        raise PermanentError(f"The finance settings are wrong: {wrong}.", remedy="Correct settings.yaml.") from error
