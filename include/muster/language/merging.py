"""How a file is merged with those it builds upon, and where each value stands then.

Mappings are merged key by key, steps by their id; every other value replaces the one below; null removes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from muster.language.kinds import KIND_KEYS
from muster.language.problems import Problem
from muster.language.reading import Path, merged
from muster.language.source import Source


def merged_documents(below: object, above: object) -> object:
    """An automation laid over the one it extends: as `merged`, and steps by their id."""
    result = merged(below, above)
    if isinstance(below, dict) and isinstance(above, dict):
        lower, upper = below.get("steps"), above.get("steps")
        if isinstance(lower, list) and isinstance(upper, list):
            result["steps"] = _merged_steps(lower, upper)
    return result


def _merged_steps(below: list[object], above: list[object]) -> list[object]:
    result = list(below)
    previous: int | None = None
    for step in above:
        position = next(
            (i for i, other in enumerate(result) if _id(other) is not None and _id(other) == _id(step)), None
        )
        if position is None:
            # A new step comes after the step that is written before it. The first step of a file comes at the end.
            position = len(result) if previous is None else previous + 1
            result.insert(position, step)
        else:
            same = _kinds(result[position]) & _kinds(step) or not _kinds(step)
            result[position] = merged(result[position], step) if same else step
        previous = position
    return result


def _steps(layer: Source) -> list[object]:
    steps = layer.data.get("steps") if isinstance(layer.data, dict) else None
    return steps if isinstance(steps, list) else []


def _id(step: object) -> object:
    return step.get("id") if isinstance(step, dict) else None


def _kinds(step: object) -> set[str]:
    return {KIND_KEYS[key] for key in step if key in KIND_KEYS} if isinstance(step, dict) else set()


@dataclass(frozen=True)
class Layered:
    """Files merged into one document; a problem points into the file a value comes from."""

    data: Any
    layers: Sequence[Source]
    """The files, the nearest first."""

    @property
    def file(self) -> str:
        """The nearest file."""
        return self.layers[0].file

    def problem(
        self, message: str, path: Path = (), *, key: bool = False, suggestion: str | None = None, offset: int = 0
    ) -> Problem:
        """A problem at the value `path` leads to, in the nearest file that holds it."""
        shorter = path
        while shorter:
            for layer in self.layers:
                local = self._translate(shorter, layer)
                if local is not None and layer.holds(local):
                    return layer.problem(
                        message, local, key=key and shorter == path, suggestion=suggestion, offset=offset
                    )
            shorter = shorter[:-1]
        return self.layers[0].problem(message, suggestion=suggestion)

    def twice(self) -> Iterator[Problem]:
        """One problem for each step of a file that has the id of another one there: they would be merged."""
        for layer in self.layers:
            for position, step in enumerate(steps := _steps(layer)):
                if (name := _id(step)) is not None and name in (before := [_id(other) for other in steps[:position]]):
                    first = layer.problem("", ("steps", before.index(name), "id"))
                    message = f"there are two steps `{name}`; the first is in line {first.line}"
                    yield layer.problem(message, ("steps", position, "id"), suggestion="Rename one of them.")

    def _translate(self, path: Path, layer: Source) -> Path | None:
        """The path as it is in one of the files: a step may stand at another position there."""
        with_steps = [source for source in self.layers if isinstance(source.data, dict) and "steps" in source.data]
        if len(path) < 2 or path[0] != "steps" or len(with_steps) < 2:
            return path
        wanted = _id(self.data["steps"][path[1]])
        for position, step in enumerate(_steps(layer)):
            if wanted is not None and _id(step) == wanted:
                return ("steps", position, *path[2:])
        return None
