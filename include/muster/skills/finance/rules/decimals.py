"""Amounts have at most two decimals: BR-DEC-01 to BR-DEC-28."""

from __future__ import annotations

from decimal import Decimal

from muster.skills.finance.rules.rule import Rule, parts, satisfies

_FIELDS = (
    ("BR-DEC-01", "allowances", "amount"),
    ("BR-DEC-02", "allowances", "base_amount"),
    ("BR-DEC-05", "charges", "amount"),
    ("BR-DEC-06", "charges", "base_amount"),
    ("BR-DEC-09", "totals", "line_total"),
    ("BR-DEC-10", "totals", "allowance_total"),
    ("BR-DEC-11", "totals", "charge_total"),
    ("BR-DEC-12", "totals", "net"),
    ("BR-DEC-13", "totals", "vat"),
    ("BR-DEC-14", "totals", "gross"),
    ("BR-DEC-15", "totals", "vat_accounting_currency"),
    ("BR-DEC-16", "totals", "prepaid"),
    ("BR-DEC-17", "totals", "rounding"),
    ("BR-DEC-18", "totals", "due"),
    ("BR-DEC-19", "vat_breakdown", "taxable_amount"),
    ("BR-DEC-20", "vat_breakdown", "tax_amount"),
    ("BR-DEC-23", "lines", "net_amount"),
    ("BR-DEC-24", "lines.allowances", "amount"),
    ("BR-DEC-25", "lines.allowances", "base_amount"),
    ("BR-DEC-27", "lines.charges", "amount"),
    ("BR-DEC-28", "lines.charges", "base_amount"),
)


def has_two_decimals(amount: Decimal) -> bool:
    """True for at most two digits after the point, as written."""
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -2


RULES: tuple[Rule, ...] = tuple(
    satisfies(rule_id, parts(path), name, has_two_decimals, "An amount has more than two decimals: {value}.")
    for rule_id, path, name in _FIELDS
)
