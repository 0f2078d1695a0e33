"""Dates are reckoned with in expressions: what a week ago was, also across a change of the clocks."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from muster.language.expression_errors import ExpressionError
from muster.language.expressions import evaluate

BERLIN = ZoneInfo("Europe/Berlin")
GIVEN: dict[str, Any] = {
    "inputs": {
        "day": "2026-03-31",
        "late": "2026-03-31T23:30:00+00:00",
        "amount": "12.30",
        "rate": 0.1,
        "nothing": None,
    },
    "item": date(2026, 3, 31),
    # The clocks were changed in the night to the 29th.
    "steps": {"moment": datetime(2026, 3, 30, 8, 0, tzinfo=BERLIN)},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("item | add_days(1)", date(2026, 4, 1)),
        ("item | add_days(-31)", date(2026, 2, 28)),
        ("inputs.day | add_days(1)", date(2026, 4, 1)),
        ("item | start_of_week", date(2026, 3, 30)),
        ("item | start_of_week('sunday')", date(2026, 3, 29)),
        ("item | start_of_week('tuesday')", date(2026, 3, 31)),
        ("item | start_of_week | add_days(-7)", date(2026, 3, 23)),
        ("item | start_of_month", date(2026, 3, 1)),
        ("item | start_of_month | add_days(-1) | start_of_month", date(2026, 2, 1)),
        ("steps.moment | add_days(-7)", datetime(2026, 3, 23, 8, 0, tzinfo=BERLIN)),
        ("steps.moment | start_of_week", datetime(2026, 3, 30, 0, 0, tzinfo=BERLIN)),
        ("inputs.late | start_of_month | date('%Y-%m-%d %H:%M')", "2026-03-01 00:00"),
        ("inputs.amount | decimal", Decimal("12.30")),
        ("(inputs.rate | decimal) * 3", Decimal("0.3")),
        ("3 | decimal", Decimal(3)),
    ],
)
def test_dates_and_amounts_are_reckoned_with(text: str, value: object) -> None:
    found = evaluate(f"{{{{ {text} }}}}", GIVEN)
    assert (found, type(found)) == (value, type(value))
    if isinstance(value, datetime):
        assert found.utcoffset() == value.utcoffset()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs.amount | add_days(1)", "invalid isoformat"),
        ("3 | add_days(1)", "takes a date"),
        ("inputs.nothing | add_days(1)", "takes a date, not null"),
        ("item | add_days('x')", "takes a whole number"),
        ("item | add_days('1' | decimal)", "takes a whole number"),
        ("steps.moment | add_days(1.5)", "takes a whole number"),
        ("item | add_days(true)", "takes a whole number"),
        ("item | add_days(99999999)", "no date"),
        ("item | start_of_week('someday')", "a day such as `monday`"),
        ("inputs.day | decimal", "takes a number"),
        ("true | decimal", "takes a number"),
        ("'nan' | decimal", "takes a number"),
        ("'1,5' | decimal", "not a text that is no number"),
        ("'1_000' | decimal", "not a text that is no number"),
        ("'1e400000' | decimal | int", "100 digits at most"),
        ("'1e-400000' | decimal", "100 digits at most"),
    ],
)
def test_what_is_no_date_or_number_is_an_error_in_words(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        evaluate(f"{{{{ {text} }}}}", GIVEN)
