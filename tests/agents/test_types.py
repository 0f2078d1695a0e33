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
    hydrated = hydrate(resolve(schema).returns, value)
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
        [[1, Decimal("1.50")], [Decimal(2), date(2026, 1, 31)]],
        {"$defs": Decimal(1), "$ref": date(2026, 1, 31)},
        [{"a": Decimal(1)}, "x", [Decimal(2)], {"a": None, "b": [date(2026, 1, 31)]}],
    ],
    ids=str,
)
def test_of_plain_data_a_schema_says_where_decimals_and_dates_were(value: Any) -> None:
    stored = json.loads(TypeAdapter(Any).dump_json(value))
    assert stored != value
    assert hydrate(schema_of(value), stored) == value


def test_decimals_of_a_set_stay_decimals() -> None:
    assert hydrate(schema_of({Decimal("1.50")}), ["1.50"]) == [Decimal("1.50")]


def rows(count: int) -> list[tuple[Any, ...]]:
    """Rows of which no two next to each other have their nulls at the same places."""
    money, day = Decimal("1.50"), date(2026, 1, 31)
    return [(at, money if at % 2 else None, day if at % 3 else None, f"{at}", money) for at in range(count)]


@pytest.mark.parametrize("named", [False, True], ids=["rows", "mappings"])
def test_the_schema_of_rows_is_as_large_as_their_columns_wherever_a_null_is(named: bool) -> None:
    values: Any = [{f"c{at}": item for at, item in enumerate(row)} if named else list(row) for row in rows(5_000)]
    assert schema_of(values) == schema_of(values[:12])
    stored = json.loads(TypeAdapter(Any).dump_json(values))
    assert hydrate(schema_of(values), stored) == values


@pytest.mark.parametrize("rows", [2, 3_000])
def test_texts_and_decimals_in_one_column_are_text_and_the_columns_beside_it_are_not(rows: int) -> None:
    """As text each of them is exact; as decimals the texts would not be: a number of a customer is none."""
    values = [[Decimal("1.50") if at % 2 else "007", Decimal(at), "x"] for at in range(rows)]
    stored = json.loads(TypeAdapter(Any).dump_json(values))
    assert hydrate(schema_of(values), stored) == [[str(mixed), number, text] for mixed, number, text in values]
    assert schema_of(values) == schema_of(values[:2])


@pytest.mark.parametrize(
    ("value", "first"),
    [
        ([Decimal(1), "007"] * 5_000, "1"),
        ([Decimal(1), date(2026, 1, 31)] * 5_000, Decimal(1)),
        ({f"{at}": Decimal(1) for at in range(5_000)}, Decimal(1)),
    ],
    ids=["texts and decimals", "dates and decimals", "keys"],
)
def test_so_is_that_of_a_long_list_or_mapping_of_anything(value: Any, first: Any) -> None:
    stored = json.loads(TypeAdapter(Any).dump_json(value))
    assert len(json.dumps(schema_of(value))) < 200
    hydrated: Any = hydrate(schema_of(value), stored)
    assert hydrated["0" if isinstance(value, dict) else 0] == first


def test_a_schema_for_each_row_as_earlier_versions_wrote_it_is_read() -> None:
    row = {"prefixItems": [{}, {"format": "decimal"}, {"format": "date"}, {"format": "date-time-local"}]}
    schema = {"prefixItems": [row, {"items": {"format": "decimal"}}, {}]}
    value = [[1, "1.50", "2026-01-31", "2026-01-31T12:00:00"], [None, "2"], [None, None]]
    assert hydrate(schema, value) == [
        [1, Decimal("1.50"), date(2026, 1, 31), datetime(2026, 1, 31, 12)],  # noqa: DTZ001 - as databases give it
        [None, Decimal(2)],
        [None, None],
    ]


def test_what_the_log_has_is_not_checked_again() -> None:
    """It was as it was written; a secret in it is not there any more."""
    assert hydrate({"items": {"format": "date"}}, ["2026-01-31", "[redacted]"]) == [date(2026, 1, 31), "[redacted]"]


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
