"""What `returns` resolves to, and what values become through it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from muster.agents.types import hydrate, resolve, schema_of
from muster.errors import PermanentError
from support.sources import source_of

SHAPES = source_of(__file__, "types_shapes")
ORDER = {"lines": [{"amount": "10.50", "colour": "red", "tags": ["b", "a"]}], "due": "2026-01-31"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "shapes.py").write_text(SHAPES)
    return folder


def test_a_named_type_gives_plain_data_with_decimals_and_dates(site: Path) -> None:
    value = hydrate("shapes.Order", ORDER, site)
    assert value == {
        "lines": [{"amount": Decimal("10.50"), "colour": "red", "tags": ["a", "b"]}],
        "due": date(2026, 1, 31),
    }
    assert type(value["lines"][0]["colour"]) is str
    assert type(value["lines"][0]) is dict


def test_lists_annotated_types_and_skills_can_be_named(site: Path) -> None:
    assert hydrate("list[shapes.Rate]", ["0.5"], site) == [Decimal("0.5")]
    assert hydrate("skill:shapes.count_lines", {"count": "3"}, site) == {"count": Decimal(3)}


def test_checking_gives_json_ready_data_in_the_types_own_form(site: Path) -> None:
    checked = resolve("shapes.Line", site).check({"amount": 10.5, "colour": "red"})
    assert checked == {"amount": "10.5", "colour": "red", "tags": []}


@pytest.mark.parametrize(
    ("schema", "value", "plain"),
    [
        ({"type": "number"}, 0.1, Decimal("0.1")),
        ({"type": "integer"}, 3, 3),
        ({"type": "boolean"}, True, True),
        ({"type": ["number", "null"]}, None, None),
        ({"type": "string", "format": "date"}, "2026-01-31", date(2026, 1, 31)),
        (
            {"type": "string", "format": "date-time"},
            "2026-01-31T12:00:00Z",
            datetime(2026, 1, 31, 12, tzinfo=UTC),
        ),
        ({"type": "string", "format": "decimal"}, "1.20", Decimal("1.20")),
        (
            {"anyOf": [{"type": "null"}, {"type": "string", "format": "date"}]},
            "2026-01-31",
            date(2026, 1, 31),
        ),
        ({"type": "array", "items": {"type": "number"}}, [1, 2.5], [Decimal(1), Decimal("2.5")]),
        (
            {"type": "object", "additionalProperties": {"type": "number"}},
            {"a": 1.5, "b": 2},
            {"a": Decimal("1.5"), "b": Decimal(2)},
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "$defs": {"A": {"type": "number"}},
            },
            {"a": 1.5, "b": "x"},
            {"a": Decimal("1.5"), "b": "x"},
        ),
    ],
)
def test_a_schema_says_what_is_a_decimal_and_what_a_date(schema: Any, value: Any, plain: Any) -> None:
    hydrated = hydrate(schema, value)
    assert hydrated == plain
    assert type(hydrated) is type(plain)


@pytest.mark.parametrize(
    "value",
    [
        Decimal("1.50"),
        datetime(2026, 1, 31, 12, tzinfo=UTC),
        datetime(2026, 1, 31, 12),  # noqa: DTZ001 - as databases give it
        [[1, Decimal("1.50"), date(2026, 1, 31), "1.50"], [2, None, None, None], [3, Decimal(2), None, "x"]],
        [Decimal(1), "1", None, Decimal("2.5")],
        [None, Decimal(1)],
        {"rows": [{"sum": Decimal("0.10"), "on": date(2026, 1, 31)}, {"sum": None}], "n": 2},
        [[], [Decimal(1)]],
    ],
    ids=str,
)
def test_of_plain_data_a_schema_says_where_decimals_and_dates_were(value: Any) -> None:
    stored = json.loads(TypeAdapter(Any).dump_json(value))
    assert stored != value
    assert hydrate(schema_of(value), stored) == value


@pytest.mark.parametrize("value", [None, 1, "1.50", "2026-01-31", [1, None], {"a": ["x"]}])
def test_where_there_are_none_there_is_no_schema(value: Any) -> None:
    assert schema_of(value) is None


def test_without_a_type_or_a_value_nothing_changes() -> None:
    assert hydrate(None, {"a": "1"}) == {"a": "1"}
    assert hydrate("no.Such", None) is None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "required": ["a"]}, {}),
        ({"type": "string", "format": "date"}, "31.1.2026"),
        ({"enum": ["a"]}, "b"),
    ],
)
def test_what_does_not_fit_its_schema_is_refused(schema: Any, value: Any) -> None:
    with pytest.raises(PermanentError):
        resolve(schema).check(value)


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        ("shapes.Circle", r"no type named 'shapes\.Circle'"),
        ("nowhere.Order", r"no type named 'nowhere\.Order'"),
        ("shapes.count_lines", "no type named"),
        ({"type": "objekt"}, "not a JSON Schema"),
        ({"$ref": "https://example.com/schema"}, "refers to"),
        ({"$ref": "#/$defs/missing"}, "not in the schema"),
        ({"type": "array", "items": {"$ref": "#"}}, "refers to"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}},
            "refers to",
        ),
    ],
)
def test_a_type_that_cannot_be_used_is_an_error_that_says_why(site: Path, returns: Any, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        resolve(returns, site)
