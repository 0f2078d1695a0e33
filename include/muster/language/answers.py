"""People's answers as expressions see them: one is true when it approves; the list of all is neither true nor false."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex, overload

from muster.errors import PermanentError

KEEPING = frozenset({"d", "default", "list", "map", "present", "reverse", "sort", "unique"})
"""Filters that give as good as the list they are given: that it is not empty still says nothing about approval."""

_ANSWER = frozenset({"approved", "by", "how", "at"})


class Decision(dict[str, object]):
    """A person's answer: a mapping, and true only when it approves."""

    def __bool__(self) -> bool:
        return self.get("approved") is True


class NeitherTrueNorFalse(PermanentError):
    """A condition asks whether a list of answers as a whole is true: its step fails without another attempt."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"`{name}` is the list of the answers about all items: as a whole it is neither true nor false.",
            remedy=f"Write `{name}[index]` for the answer about the item, "
            f"or `{name} | select | length > 0` where one approval is enough.",
        )


class Answers(list[Any]):
    """The answers about the items of a fan-out, by position; null where nobody was asked.

    Raises:
        NeitherTrueNorFalse: when its truth is asked. It would be true also if everything was rejected.
    """

    def __init__(self, answers: Iterable[object], name: str) -> None:
        super().__init__(answers)
        self.name = name
        """How an expression names it."""

    def __bool__(self) -> bool:
        raise NeitherTrueNorFalse(self.name)

    @overload
    def __getitem__(self, key: SupportsIndex) -> object: ...
    @overload
    def __getitem__(self, key: slice) -> Answers: ...
    def __getitem__(self, key: SupportsIndex | slice) -> object:
        found = super().__getitem__(key)
        return Answers(found, self.name) if isinstance(key, slice) else found


def answered(output: object, name: str) -> object:
    """The output of a question: a mapping that approves or not, in a fan-out a list of them; null when skipped."""
    if isinstance(output, list):
        return Answers([answered(item, name) for item in output], name)
    return Decision(output) if isinstance(output, Mapping) else output


def answered_below(output: object, name: str) -> object:
    """The output of a step that runs another automation, with the answers of people in it as such, at any depth.

    They are known by their form: what the other automation said of its steps is not in the output.
    """
    if isinstance(output, list):
        return [answered_below(item, name) for item in output]
    if not isinstance(output, Mapping) or not isinstance(output.get("outputs"), Mapping):
        return output
    outputs = {step: _seen_below(value, f"{name}.outputs.{step}") for step, value in output["outputs"].items()}
    return {**output, "outputs": outputs}


def _seen_below(value: object, name: str) -> object:
    several = value if isinstance(value, list) else [value]
    if any(isinstance(each, Mapping) and each.keys() >= _ANSWER for each in several):
        return answered(value, name)
    return answered_below(value, name)
