"""A number with a fraction beside a decimal counts as the decimal that it is written as."""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.language.expressions import evaluate

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TESTS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
CALCULATIONS: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
WRITTEN = st.builds(lambda whole, places: str(Decimal(whole).scaleb(-places)), st.integers(0, 10**6), st.integers(1, 4))
"""As people write amounts; a few places, so that equal ones come up."""


def both_ways(expression: str, a: str, b: str) -> list[Any]:
    """What an expression of `a` and `b` gives when one of them is a decimal and the other a setting or literal."""
    exact, fraction = {"a": Decimal(a), "b": Decimal(b)}, {"a": float(a), "b": float(b)}
    sides = [
        ("steps.a", "settings.b"),
        ("settings.a", "steps.b"),
        ("steps.a", repr(float(b))),
        (repr(float(a)), "steps.b"),
    ]
    return [
        evaluate(f"{{{{ {expression.format(a=left, b=right)} }}}}", {"steps": exact, "settings": fraction})
        for left, right in sides
    ]


@settings(deadline=None, max_examples=50)
@given(WRITTEN, WRITTEN | st.none())
def test_they_compare_as_decimals_do(a: str, other: str | None) -> None:
    b = other or a
    for sign, compare in COMPARISONS.items():
        assert set(both_ways(f"{{a}} {sign} {{b}}", a, b)) == {compare(Decimal(a), Decimal(b))}
    for test, sign in TESTS.items():
        found = both_ways(f"[{{a}}] | select('{test}', {{b}}) | length", a, b)
        assert set(found) == {int(COMPARISONS[sign](Decimal(a), Decimal(b)))}
    equal = Decimal(a) == Decimal(b)
    assert set(both_ways("{a} in [{b}]", a, b)) == {equal}
    assert set(both_ways("{{'x': [{a}]}} == {{'x': [{b}]}}", a, b)) == {equal}
    assert set(both_ways("{a} <= {b} <= {a}", a, b)) == {equal}
    assert set(both_ways("[{a}, {b}] | unique | length", a, b)) == {1 if equal else 2}
    for name, choose in (("max", max), ("min", min)):
        assert {Decimal(str(one)) for one in both_ways(f"[{{a}}, {{b}}] | {name}", a, b)} == {
            choose(Decimal(a), Decimal(b))
        }
    for found in both_ways("[{{'n': {a}}}, {{'n': {b}}}] | sort(attribute='n') | map(attribute='n')", a, b):
        assert [Decimal(str(one)) for one in found] == sorted([Decimal(a), Decimal(b)])


@settings(deadline=None, max_examples=50)
@given(WRITTEN, WRITTEN)
def test_they_are_calculated_with_as_decimals_are(a: str, b: str) -> None:
    for sign, calculate in CALCULATIONS.items():
        if Decimal(b) or sign in "+-*":
            assert set(both_ways(f"{{a}} {sign} {{b}}", a, b)) == {calculate(Decimal(a), Decimal(b))}
    assert set(both_ways("[{a}, {b}] | sum", a, b)) == {Decimal(a) + Decimal(b)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ 0.1 + 0.2 }}", 0.1 + 0.2),
        ("{{ 0.5 * 3 }}", 1.5),
        ("{{ [0.1, 0.3, 0.2] | max }}", 0.3),
        ("{{ [0.1, 0.2] | sum }}", 0.1 + 0.2),
        ("{{ 1.5 in {1.5: 2} }}", True),
        ("{{ 'a' in 'abc' and 2 in [1, 2] and 'n' in {'n': 0.5} }}", True),
    ],
)
def test_fractions_among_themselves_stay_as_they_are(text: str, value: Any) -> None:
    found = evaluate(text, {})
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "{{ (steps.name, steps.amount) == ('ACME', 250.5) and (steps.name, 250.5) in [('ACME', steps.amount)] }}",
            True,
        ),
        ("{{ ('ACME', 250.4) < (steps.name, steps.amount) and (1, 2.0) == (1, 2) }}", True),
        ("{{ 'x' not in ['y', 0.5, steps.amount] and 250.5 not in ['y'] and steps.amount not in [1.5] }}", True),
        ("{{ (steps.rows | max(attribute='amount')).share }}", 0.93),
        ("{{ steps.rows | sort(attribute='amount') | map(attribute='share') | list }}", [0.5, 0.93]),
        ("{{ steps.rows | unique(attribute='amount') | map(attribute='share') | list }}", [0.93, 0.5]),
        ("{{ steps.shares | dictsort(by='value') }}", [["b", 0.25], ["a", Decimal("0.5")]]),
        ("{{ steps.shares | sort }}", ["a", "b"]),
        ("{{ [[0.5, steps.amount], [0.25]] | min }}", [0.25]),
    ],
)
def test_what_is_compared_stays_what_it_was(text: str, value: Any) -> None:
    rows = [{"amount": Decimal("2.10"), "share": 0.93}, {"amount": Decimal("1.10"), "share": 0.5}]
    shares = {"a": Decimal("0.5"), "b": 0.25}
    steps = {"name": "ACME", "amount": Decimal("250.50"), "rows": rows, "shares": shares}
    found = evaluate(text, {"steps": steps})
    assert (found, repr(found)) == (value, repr(value))
