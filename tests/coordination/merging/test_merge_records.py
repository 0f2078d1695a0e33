"""Records are merged field by field; a field that both sides changed is a conflict that shows both."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.coordination.merging import ABSENT, Merged, Unmerged, merge_records
from muster.coordination.merging.outcome import Difference
from muster.coordination.merging.records import same

BASE = {"name": "Ada", "address": {"city": "London", "zip": "N1"}, "tags": ["a", "b"]}


def changed(**fields: object) -> dict[str, Any]:
    """The record with other fields."""
    return copy.deepcopy(BASE) | fields


def paths(merged: object) -> list[str]:
    """Where a conflict is."""
    assert isinstance(merged, Unmerged)
    return [difference.path for difference in merged.differences]


def test_different_fields_are_both_taken_at_every_depth() -> None:
    ours = changed(name="Ada L.", address={"city": "Paris", "zip": "N1"})
    theirs = changed(address={"city": "London", "zip": "N2", "country": "UK"})
    assert merge_records(BASE, ours, theirs) == Merged(
        changed(name="Ada L.", address={"city": "Paris", "zip": "N2", "country": "UK"})
    )


def test_the_same_change_on_both_sides_is_no_conflict() -> None:
    assert merge_records(BASE, changed(name="B", tags=[]), changed(name="B")) == Merged(changed(name="B", tags=[]))


def test_a_field_that_both_changed_shows_both_values_and_what_was() -> None:
    theirs = changed(address={"city": "Rome", "zip": "N1"})
    merged = merge_records(BASE, changed(address={"city": "Paris", "zip": "N1"}), theirs)
    assert merged == Unmerged(
        "both sides changed `address.city` in different ways", (Difference("address.city", "London", "Paris", "Rome"),)
    )


def test_all_fields_that_both_changed_are_shown() -> None:
    assert paths(merge_records(BASE, changed(name="B", tags=[]), changed(name="C", tags=["c"]))) == ["name", "tags"]


def test_removing_against_changing_is_a_conflict_and_against_nothing_is_none() -> None:
    without = changed()
    del without["name"]
    assert paths(merge_records(BASE, without, changed(name="B"))) == ["name"]
    assert merge_records(BASE, without, changed(tags=[])) == Merged({**without, "tags": []})
    assert merge_records(BASE, without, without) == Merged(without)


def test_a_record_that_both_made_is_merged_and_one_that_one_removed_is_not() -> None:
    assert merge_records(ABSENT, {"a": 1}, {"b": 2}) == Merged({"a": 1, "b": 2})
    assert paths(merge_records(ABSENT, {"a": 1}, {"a": 2})) == ["a"]
    assert merge_records(BASE, ABSENT, BASE) == Merged(ABSENT)
    merged = merge_records(BASE, ABSENT, changed(name="B"))
    assert paths(merged) == [""]
    assert isinstance(merged, Unmerged)
    assert merged.reason == "both sides changed it in different ways"


def test_null_is_a_value() -> None:
    assert merge_records({"a": None}, {"a": None, "b": 1}, {"a": 2}) == Merged({"a": 2, "b": 1})
    assert paths(merge_records({"a": 1}, {"a": None}, {})) == ["a"]


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0), ("1", 1), ([1], [True])])
def test_values_that_python_takes_for_equal_are_two(one: object, other: object) -> None:
    assert paths(merge_records({"a": "before"}, {"a": one}, {"a": other})) == ["a"]


def test_a_list_is_one_value_unless_a_key_is_declared() -> None:
    base = {"items": [{"sku": "a", "count": 1}, {"sku": "b", "count": 1}]}
    ours = {"items": [{"sku": "a", "count": 2}, {"sku": "b", "count": 1}]}
    theirs = {"items": [{"sku": "a", "count": 1}, {"sku": "b", "count": 5}, {"sku": "c", "count": 1}]}
    assert paths(merge_records(base, ours, theirs)) == ["items"]
    assert merge_records(base, ours, theirs, {"items": "sku"}) == Merged(
        {"items": [{"sku": "a", "count": 2}, {"sku": "b", "count": 5}, {"sku": "c", "count": 1}]}
    )


def test_elements_and_lists_inside_of_them_are_named_by_their_keys() -> None:
    base = {"items": [{"sku": 7, "taxes": [{"code": "x", "rate": 1}]}]}
    ours = {"items": [{"sku": 7, "taxes": [{"code": "x", "rate": 2}]}]}
    theirs = {"items": [{"sku": 7, "taxes": [{"code": "x", "rate": 3}]}]}
    assert paths(merge_records(base, ours, theirs, {"items": "sku", "items.taxes": "code"})) == [
        "items[7].taxes[x].rate"
    ]


def test_an_element_that_one_removed_and_the_other_changed_is_a_conflict() -> None:
    base, theirs = [{"id": 1, "n": 0}, {"id": 2}], [{"id": 1, "n": 5}, {"id": 2}]
    assert paths(merge_records(base, [{"id": 2}], theirs, {"": "id"})) == ["[1]"]
    assert merge_records(base, [{"id": 2}], [*base, {"id": 3}], {"": "id"}) == Merged([{"id": 2}, {"id": 3}])


def test_the_order_is_taken_from_the_side_that_changed_it_and_two_orders_are_a_conflict() -> None:
    base, one, other = ([{"id": number} for number in order] for order in ("abc", "cab", "bca"))
    assert merge_records(base, [*base, {"id": "d"}], one, {"": "id"}) == Merged([*one, {"id": "d"}])
    assert merge_records(base, one, base[:2], {"": "id"}) == Merged([{"id": "a"}, {"id": "b"}])
    assert paths(merge_records(base, one, other, {"": "id"})) == [""]


@pytest.mark.parametrize(
    "odd",
    [[{"id": 1}, {"id": 1}], [{"id": 1}, {"id": "1"}], [{"id": 1}, {}], [{"id": None}], [1], [{"id": True}], "text"],
)
def test_a_list_whose_key_does_not_tell_its_elements_apart_is_one_value(odd: object) -> None:
    assert paths(merge_records([{"id": 1}], [{"id": 1}, {"id": 2}], odd, {"": "id"})) == [""]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(JSON, JSON, JSON)
def test_a_merge_does_not_depend_on_which_side_is_which_and_takes_nothing_from_nowhere(
    base: Any, ours: Any, theirs: Any
) -> None:
    one, other = merge_records(base, ours, theirs), merge_records(base, theirs, ours)
    if isinstance(one, Merged):
        assert isinstance(other, Merged)
        assert same(one.value, other.value)
    else:
        assert isinstance(other, Unmerged)
        assert {difference.path for difference in one.differences} == {
            difference.path for difference in other.differences
        }
    assert merge_records(base, base, theirs) == Merged(theirs)
    assert merge_records(base, ours, ours) == Merged(ours)
