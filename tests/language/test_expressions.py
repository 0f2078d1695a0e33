"""Expressions give native values over plain data, and can neither escape nor run away."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import PermanentError
from muster.language.expression_errors import ExpressionError
from muster.language.expressions import (
    ExpressionSyntaxError,
    References,
    evaluate,
    evaluate_marked,
    parse,
    references,
    texts,
)

READ = {"number": "0012", "total": Decimal("1234.50"), "date": date(2026, 1, 31), "items": [1, 2]}
VARIABLES: dict[str, Any] = {
    "inputs": {"uri": "file:///a", "digits": "5"},
    "steps": {"read": [READ, None], "approve": None, "odd": {"items": 5, "keys": 6, "__class__": 7}},
    "settings": {"limit": 5000},
    "run": {"id": "a/1"},
    "item": READ,
    "index": 0,
}


def value_of(text: Any) -> Any:
    return evaluate(text, VARIABLES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ item.total }}", Decimal("1234.50")),
        ("{{ item.date }}", date(2026, 1, 31)),
        ("{{ item.number }}", "0012"),
        ("{{ inputs.digits }}", "5"),
        (" {{ item.items }} ", [1, 2]),
        ("{{ item.total > settings.limit }}", False),
        ("{{ item.total > 1000 and not steps.approve }}", True),
        ("{{ {'a': [item.total]} }}", {"a": [Decimal("1234.50")]}),
        ("{{ steps.read | present | map(attribute='number') }}", ["0012"]),
        ("{{ steps.read | present | sum(attribute='total') }}", Decimal("1234.50")),
        ("{{ steps.read[index].number }}", "0012"),
        ("{{ steps.approve }}", None),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ range(3) == [0, 1, 2] }}", True),
        ("no expression", "no expression"),
        ("{ not: one }", "{ not: one }"),
        (17, 17),
    ],
)
def test_a_text_that_is_one_expression_keeps_the_type_of_its_value(text: Any, value: Any) -> None:
    result = value_of(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("No. {{ item.number }}", "No. 0012"),
        ("{{ index }}{{ index }}", "00"),
        ("over {{ item.total }} on {{ item.date }}", "over 1234.50 on 2026-01-31"),
        ("null: {{ steps.approve }}.", "null: ."),
        ("data: {{ item.items }}", "data: [1, 2]"),
        ("{{ [item.date, item.total, none] }}.", '["2026-01-31", "1234.50", null].'),
        ("is {{ index == 0 }}", "is true"),
        ("{% for n in item.items %}{{ loop.index }}={{ n }};{% endfor %}", "1=1;2=2;"),
        ("{% if index %}a{% else %}b{% endif %}", "b"),
        ("{{ item.total | money('EUR') }} ", "1,234.50 EUR"),
        ("{{ item.date | date('%d.%m.%Y') }} {{ '2026-02-01' | date }}", "31.01.2026 2026-02-01"),
    ],
)  # fmt: skip
def test_an_expression_inside_a_longer_text_becomes_text(text: str, value: str) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Code {{ inputs.letter }}!", "Code [pay me]!"),
        ("All: {{ inputs.letters }}", 'All: [["pay me"]]'),
        ("{% for each in inputs.letters %}{{ each }};{% endfor %}", "[pay me];"),
        ("It is {{ inputs.letter | upper }}", "It is [PAY ME]"),
        ("Over {{ inputs.amount }} {{ inputs.nothing }}", "Over 3.5 "),
        ("{{ inputs.letter }}", "pay me"),
        ("No expression", "No expression"),
    ],
)
def test_what_comes_out_of_data_can_be_marked_inside_an_authors_text(text: str, marked: str) -> None:
    data = {"letter": "pay me", "letters": ["pay me"], "amount": Decimal("3.5"), "nothing": None}
    assert evaluate_marked(text, {"inputs": data}, lambda value: f"[{value}]") == marked
    assert "[pay" not in evaluate(f"{text} ", {"inputs": data})


LAZY: dict[str, Any] = {
    name: {} if name == "items" else []
    for name in [
        "items", "map('upper')", "reject", "rejectattr('x')", "reverse", "select", "selectattr('x')", "unique",
    ]
}  # fmt: skip
"""Filters that Jinja evaluates only when their values are asked for, with what they make an empty list of."""


@pytest.mark.parametrize(("name", "nothing"), LAZY.items())
@pytest.mark.parametrize(
    "text",
    [
        "{{ not (inputs.l | FILTER) }}",
        "{{ 'no' if inputs.l | FILTER else true }}",
        "{{ ((inputs.l | FILTER) and 5) == [] }}",
        "{{ ((inputs.l | FILTER) or 5) == 5 }}",
        "{{ (inputs.l | FILTER) == [] }}",
        "{{ [inputs.l | FILTER | length, inputs.l | FILTER | list] == [0, []] }}",
    ],
)
def test_a_filtered_list_is_false_when_nothing_is_left_of_it(text: str, name: str, nothing: Any) -> None:
    assert evaluate(text.replace("FILTER", name), {"inputs": {"l": nothing}}) is True


@pytest.mark.parametrize("name", LAZY)
def test_nor_does_it_count_in_the_middle_of_a_text(name: str) -> None:
    text = f"{{% if inputs.l | {name} %}}some{{% else %}}none{{% endif %}}, {{{{ inputs.l | {name} }}}}"
    assert evaluate(text, {"inputs": {"l": LAZY[name]}}) == "none, []"


def test_lists_and_mappings_are_evaluated_at_any_depth() -> None:
    given_value = {"a": ["{{ item.total }}", {"b": "{{ index }}"}], "c": 1}
    assert value_of(given_value) == {"a": [Decimal("1234.50"), {"b": 0}], "c": 1}


def test_keys_win_over_everything_else_a_mapping_might_have() -> None:
    assert value_of("{{ steps.odd.items }}") == 5
    assert value_of("{{ steps.odd.keys }}") == 6
    assert value_of("{{ steps.odd.__class__ }}") == 7
    assert value_of("{{ steps.odd['items'] }}") == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ item.numbr }}", "Did you mean `number`"),
        ("{{ steps.approve.by }}", "skipped"),
        ("{{ item.items[5] }}", "2 entries"),
        ("{{ ''.__class__ }}", "never methods or attributes"),
        ("{{ item.date.year }}", "never methods or attributes"),
        ("{{ item.total.real }}", "never methods or attributes"),
        ("{{ item.total + 'a' }}", "unsupported operand"),
        ("{{ 1 / 0 }}", "divides by zero"),
        ("{{ item.number > 5 }}", "not supported between"),
        ("before {{ item.nothing }} after", "no `nothing`"),
        ("{{ missing_step }}", "no variable `missing_step`"),
    ],
)
def test_what_cannot_be_evaluated_fails_for_good_and_says_why(text: str, message: str) -> None:
    with pytest.raises(PermanentError) as caught:
        evaluate(text, VARIABLES, where="step post, with")
    assert message in str(caught.value)
    assert str(caught.value).startswith("step post, with: `")


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 100000000 }}",
        "{{ 100000000 * 'a' }}",
        "{{ [0] * 100000000 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ 2 ** (2 ** 30) }}",
        "{{ (2 ** 4000) * (2 ** 4000) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ range(10 ** 12) | list }}",
        "{{ range(10 ** 30) | list }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}",
        "{% for a in range(9999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{{ ('a' * 9999) | replace('a', 'b' * 9999) }}",
        "{{ range(9999) | map('replace', '1', 'b' * 9999) | join }}",
        "{{ range(9999) | join('x' * 9999) }}",
        "{{ 'x' | center(1000000000) }}",
        "{{ 10 | round(-1000000000) }}",
        "{{ 1 | tojson(1000000000) }}",
        "{{ range(9999) | map('list') | sum(start=[]) }}",
    ],
)
def test_no_expression_takes_memory_or_time_without_bound(text: str) -> None:
    begun = time.process_time()
    with pytest.raises(ExpressionError):
        value_of(text)
    # Unbounded, each of these takes minutes or all memory.
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ inputs.uri.lower() }}", "`lower(…)` cannot be called"),
        ("{{ item.items.append(1) }}", "`append(…)` cannot be called"),
        ("{{ ''.format() }}", "cannot be called"),
        ("{{ cycler('a') }}", "cannot be called"),
        ("{{ lipsum() }}", "cannot be called"),
        ("{{ (range)(3)(4) }}", "cannot be called"),
        ("{{ inputs.n | select(*[]) }}", "give no arguments here"),
        ("{{ inputs.n | selectattr(**inputs.m) }}", "give no arguments here"),
        ("{{ inputs.n | map(*['select']) }}", "give no arguments here"),
        ("{{ inputs.n is divisibleby(*[3]) }}", "give no arguments here"),
        ("{{ range(*[3]) }}", "give no arguments here"),
        ("{{ inputs.n | map(inputs.f) }}", "needs the name of its filter"),
        ("{{ inputs.n | map('sel' ~ 'ect') }}", "needs the name of its filter"),
        ("{{ inputs.n | map('map', inputs.f) }}", "needs the name of its filter"),
        ("{{ self }}", "no variable `self`"),
        ("{{ loop }}", "no variable `loop`"),
        ("{{ request }}", "no variable `request`"),
        ("{% set a = 1 %}", "`set` is not part"),
        ("{% include 'a' %}", "`include` is not part"),
        ("{% import 'a' as b %}", "`import` is not part"),
        ("{% macro a() %}{% endmacro %}", "`macro` is not part"),
        ("{% with %}{% endwith %}", "`with` is not part"),
        ("{{ 1 | attr('x') }}", "no filter `attr`"),
        ("{{ 1 | upperr }}", "no filter `upperr`"),
        ("{{ 1 is callable }}", "no test `callable`"),
        ("{{ steps }}", "must be followed"),
        ("{{ steps[inputs.uri] }}", "must be followed"),
        ("{{ unclosed", "not an expression"),
        ("{{ a b }}", "not an expression"),
        ("{{ }}", "not an expression"),
        ("{% nothing %}", "not an expression"),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", "too deeply"),
        ("{{ " + "-" * 3000 + "1 }}", "too deeply"),
    ],
)
def test_what_the_language_does_not_have_is_refused_when_it_is_read(text: str, message: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match=r"(?s).*") as caught:
        parse(text)
    assert message in caught.value.message
    with pytest.raises(ExpressionError):
        value_of(text)


def test_a_deep_but_allowed_expression_can_be_evaluated() -> None:
    assert value_of("{{ " + "(" * 50 + "1" + "+ 1)" * 50 + " }}") == 51


def test_a_syntax_error_says_in_which_line_of_the_text_it_is() -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        parse("one\ntwo {{ nothing }}\n")
    assert caught.value.line == 1


def test_references_name_steps_inputs_settings_and_variables() -> None:
    found = references(
        {
            "a": "{{ steps.read.total > settings.limit }}",
            "b": ["{{ inputs.uri }} {{ steps['match'].x }}", 1, None],
        }
    )
    assert found.steps == {"read", "match"}
    assert found.inputs == {"uri"}
    assert found.settings == {"limit"}
    assert found.variables == {"steps", "inputs", "settings"}


def test_the_variable_of_a_loop_is_not_a_reference() -> None:
    text = "{% for steps in steps.read %}{{ steps.other }}{{ loop.index }}{% endfor %}{{ item }}"
    assert references(text).steps == {"read"}
    assert references(text).variables == {"steps", "item"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{{ steps.read }}", ("steps", "read")),
        (" {{steps.read.lines}} ", ("steps", "read", "lines")),
        ("{{ steps['read'] }}", ("steps", "read")),
        ("{{ steps.read | present }}", None),
        ("{{ steps.read }}.", None),
        ("{{ steps.read }}{{ steps.read }}", None),
        ("{{ steps.read[0] }}", None),
    ],
)
def test_a_text_that_is_only_a_path_is_told_from_one_that_is_more(text: str, path: Any) -> None:
    assert parse(text).path == path


def test_texts_gives_every_expression_with_its_path() -> None:
    found = dict(texts({"a": ["x", "{{ item }}"], "b": {"c": "{{ index }}"}}))
    assert found == {("a", 1): "{{ item }}", ("b", "c"): "{{ index }}"}


@given(st.text(alphabet="{}%# |.()[]'\"abis0129+-*~=,:\n_steps", max_size=60))
def test_reading_any_text_gives_references_or_a_syntax_error_and_nothing_else(text: str) -> None:
    with suppress(ExpressionSyntaxError):
        assert isinstance(parse(text), References)


@given(st.text(alphabet="{}%# |.()[]'\"19+-*~=,:\n_inputs.digits", max_size=50).map(lambda text: "{{ " + text + " }}"))
def test_evaluating_any_text_gives_a_value_or_an_expression_error_and_nothing_else(text: str) -> None:
    with suppress(ExpressionError):
        value_of(text)


@pytest.mark.parametrize(
    ("text", "number", "message"),
    [("{{ item | int }}", "1e999999", "100 digits at most"), ("{{ item > 3 }}", "NaN", "cannot be reckoned with")],
)
def test_numbers_out_of_all_proportion_are_refused_in_words(text: str, number: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        evaluate(text, {"item": Decimal(number)})
