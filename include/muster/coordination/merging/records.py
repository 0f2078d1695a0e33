"""Field-wise merges of records: JSON-like values, each with what it was before.

Mappings merge key by key. A list is one value, unless a key is declared by which its elements are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from muster.coordination.merging.outcome import Difference, Merged, Unmerged


class Absent(Enum):
    """The type of `ABSENT`."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""Stands for a field, or a whole record, that is not there; `None` is a value."""


def merge_records(
    base: object, ours: object, theirs: object, lists: Mapping[str, str] | None = None
) -> Merged[Any] | Unmerged:
    """Merge two versions of a record.

    A field that one side changed is taken from it; one that both changed to the same value has that value. Numbers and
    truth values of different types differ: `1`, `1.0` and `true` are three values.

    Args:
        lists: For each list that is merged by its elements, the key that tells them apart, by the path to the list:
            `{"items": "sku", "items.taxes": "code"}`; `""` is the record itself. The elements must be mappings in which
            the value of the key is a text or a whole number, and different in each. Elements keep the order of the side
            that changed it; those that both sides added stand in the order ours, theirs.

    Returns:
        The record (`ABSENT` when it was removed), or each field that both sides changed in different ways.
    """
    merge = _Merge(lists or {})
    value = merge.of("", "", base, ours, theirs)
    if not merge.differences:
        return Merged(value)
    fields = ", ".join(f"`{difference.path}`" if difference.path else "it" for difference in merge.differences)
    return Unmerged(f"both sides changed {fields} in different ways", tuple(merge.differences))


class _Merge:
    """One merge, with the differences so far. `path` names elements of lists, `place` only the lists they are in."""

    def __init__(self, lists: Mapping[str, str]) -> None:
        self.lists = lists
        self.differences: list[Difference] = []

    def of(self, path: str, place: str, base: object, ours: object, theirs: object) -> object:
        if same(ours, theirs) or same(base, theirs):
            return ours
        if same(base, ours):
            return theirs
        was: object = base
        if base is ABSENT:
            was = {} if isinstance(ours, Mapping) else []
        if isinstance(was, Mapping) and isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            fields = {key: (_join(path, key), _join(place, key)) for key in (*ours, *theirs)}
            return self._each(fields, was, ours, theirs)
        if place in self.lists:
            elements = [_by_identity(value, self.lists[place]) for value in (was, ours, theirs)]
            known = [side for side in elements if side is not None]
            if len(known) == 3 and (order := _merged_order(*known)) is not None:
                return list(self._each({key: (f"{path}[{key}]", place) for key in order}, *known).values())
        self.differences.append(Difference(path, base, ours, theirs))
        return base

    def _each(self, parts: Mapping[Any, tuple[str, str]], *sides: Mapping[Any, object]) -> dict[Any, object]:
        values = {
            key: self.of(path, place, *(side.get(key, ABSENT) for side in sides))
            for key, (path, place) in parts.items()
        }
        return {key: value for key, value in values.items() if value is not ABSENT}


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _by_identity(elements: object, key: str) -> dict[object, object] | None:
    """The elements of a list by their key, in order; None when the key does not tell them apart."""
    if not isinstance(elements, list | tuple) or not all(isinstance(element, Mapping) for element in elements):
        return None
    names = [element.get(key) for element in elements]
    if len(set(map(str, names))) < len(names) or not all(type(name) in (str, int) for name in names):
        return None
    return dict(zip(names, elements, strict=True))


def _merged_order(base: Iterable[object], ours: Iterable[object], theirs: Iterable[object]) -> list[object] | None:
    """The elements of both sides in order; None when both changed the order of those that all three have."""
    orders = [list(side) for side in (base, ours, theirs)]
    common = set(orders[0]).intersection(*orders[1:])
    kept = [[element for element in side if element in common] for side in orders]
    if kept[1] == kept[0] != kept[2]:
        return list(dict.fromkeys((*orders[2], *orders[1])))
    return list(dict.fromkeys((*orders[1], *orders[2]))) if kept[2] in (kept[0], kept[1]) else None


def same(one: object, other: object) -> bool:
    """True when two JSON-like values are equal and of the same types all the way down."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other
