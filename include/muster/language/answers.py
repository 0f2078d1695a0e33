"""People's answers as expressions see them: one is true when it approves; the list of all is neither true nor false."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex, overload

from muster.errors import PermanentError

KEEPING = frozenset({"d", "default", "list", "map", "present", "reverse", "sort", "unique"})
"""Filters whose result is a list of answers if their input is: that it is not empty says nothing about approval."""

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
        NeitherTrueNorFalse: it is used as a truth value. It would be true even if everything was rejected.
    """

    def __init__(self, answers: Iterable[object], name: str) -> None:
        super().__init__(answers)
        self.name = name
        """How an expression names the list: `steps.approve`."""

    def __bool__(self) -> bool:
        raise NeitherTrueNorFalse(self.name)

    @overload
    def __getitem__(self, key: SupportsIndex) -> object: ...
    @overload
    def __getitem__(self, key: slice) -> Answers: ...
    def __getitem__(self, key: SupportsIndex | slice) -> object:
        selected = super().__getitem__(key)
        return Answers(selected, self.name) if isinstance(key, slice) else selected


# Only dicts are replaced, here and below: `Forgotten` is a mapping as well, and must stay `Forgotten`.
def answered(output: object, name: str) -> object:
    """The output of a question as expressions see it: a `Decision`, in a fan-out `Answers`, null when skipped."""
    if isinstance(output, list):
        return Answers([answered(item, name) for item in output], name)
    return Decision(output) if isinstance(output, dict) else output


def answered_below(output: object, name: str) -> object:
    """The output of a `run` step with people's answers in it as `Decision` and `Answers`, at any depth.

    Answers are recognised by their keys, because the output does not say which kinds the other automation's steps were.
    """
    if isinstance(output, list):
        return [answered_below(item, name) for item in output]
    if not isinstance(output, dict) or not isinstance(output.get("outputs"), dict):
        return output
    outputs = {step: _seen_below(value, f"{name}.outputs.{step}") for step, value in output["outputs"].items()}
    return {**output, "outputs": outputs}


def _seen_below(value: object, name: str) -> object:
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, dict) and item.keys() >= _ANSWER for item in items):
        return answered(value, name)
    return answered_below(value, name)
