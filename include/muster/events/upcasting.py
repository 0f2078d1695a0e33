"""Brings events stored under an older shape to today's when they are read.

What is stored never changes, so old hashes go on verifying. An event's data carries the version of its shape
under `$schema` once its type has had more than one; without it, the shape is the first. An upcaster turns
the data of one version into the next; a type's upcasters are applied one after the other. What was one type and
is several today is told apart by its data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from muster.errors import MusterError, PermanentError

MARK = "$schema"
"""The top-level key of stored data that holds its version."""

Upcast = Callable[[dict[str, object]], dict[str, object]]
"""Data of one version to data of the next. Large values may still be references: move them, never look inside."""


class Upcasters:
    """The steps from older shapes to today's, by type and the version they start from."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, int], Upcast] = {}
        self.evolved: dict[str, int] = {}
        """Today's version of every type that has had more than one."""
        self.split: dict[str, Callable[[Mapping[str, object]], str]] = {}
        """By stored type: the function that gives today's type for an event's data."""

    def add(self, type: str, version: int) -> Callable[[Upcast], Upcast]:
        """Register an upcaster of `type` from `version` to the next; today's version is then `version + 1`.

        Raises:
            ValueError: the type's upcasters would have a gap, or there is one already.
        """
        type = str(type)
        if version != self.current(type):
            raise ValueError(f"{type} is at version {self.current(type)}: an upcaster of {version} does not fit")

        def register(upcast: Upcast) -> Upcast:
            self._steps[type, version] = upcast
            self.evolved[type] = version + 1
            return upcast

        return register

    def current(self, type: str) -> int:
        """The version events of this type are written in."""
        return self.evolved.get(type, 1)

    def stamp(self, type: str, data: Mapping[str, object]) -> Mapping[str, object]:
        """Data as it is stored: with its version when it is not the first.

        Raises:
            PermanentError: the data uses the key of the version itself.
        """
        # Read back, a key of this name would pass for the version of the shape.
        if MARK in data:
            raise PermanentError(f"{MARK!r} is no key for an event's data.", remedy="Name it otherwise.")
        return {**data, MARK: self.evolved[type]} if type in self.evolved else data

    def today(self, type: str, data: object) -> tuple[str, object]:
        """A stored event's type and data as they would be written today.

        Raises:
            MusterError: the event was written by a newer Muster than this one.
        """
        # Before the type is told apart: upcasters are known by the type that the event was stored with.
        data = self.upcast(type, data)
        return (self.split[type](data) if type in self.split and isinstance(data, dict) else type), data

    def upcast(self, type: str, data: Any) -> Any:
        """Stored data in today's shape.

        Raises:
            MusterError: the event was written by a newer Muster than this one.
        """
        if not isinstance(data, dict):
            return data
        version, current = data.pop(MARK, 1), self.evolved.get(type, 1)
        if version == current:
            return data
        if not isinstance(version, int) or not 1 <= version <= current:
            raise MusterError(
                f"An event {type} is of version {version!r}, and this Muster knows versions up to {current}.",
                remedy="Update Muster: a newer one has written to this log.",
            )
        for step in range(version, current):
            data = self._steps[type, step](data)
        return data


UPCASTERS = Upcasters()
"""Those of this release."""


@UPCASTERS.add("model.called", 1)
def _tiers_that_failed(data: dict[str, object]) -> dict[str, object]:
    """The first version did not tell which tiers were asked before the one that answered."""
    return {"failed": [], **data}


@UPCASTERS.add("run.begun", 1)
def _undone_with(data: dict[str, object]) -> dict[str, object]:
    """The first version said in words that the run is undone with the one that asked for it."""
    words, _, run = str(data.get("started")).partition("undone with ")
    return {**data, "started": None, "undone_with": run} if run and not words else data


def _restarted(data: Mapping[str, object]) -> str:
    """Earlier releases wrote a run that goes on where it died as a restart that `keeps` steps."""
    return "run.continued" if data.get("keeps") else "run.restarted"


UPCASTERS.split["run.restarted"] = _restarted
