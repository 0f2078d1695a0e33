"""What a model was asked, in words: for people who want to know later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic_core import to_jsonable_python

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage

_ANSWERED = "tool-return"
"""The kind of part that holds what a tool answered, which is in the log by itself, or what is wrong with an answer."""


def asked(messages: Sequence[ModelMessage]) -> list[dict[str, object]]:
    """What the last message of a conversation newly says: kind and text of each part, instructions first.

    What came before it is in the prompts and answers of the requests before.
    """
    return list(_parts(messages[-1], first=len(messages) == 1)) if messages else []


def _parts(message: ModelMessage, *, first: bool) -> Iterator[dict[str, object]]:
    if first and (instructions := getattr(message, "instructions", None)):
        yield {"kind": "instructions", "text": instructions}
    for part in message.parts:
        if part.part_kind != _ANSWERED or getattr(part, "outcome", None) == "retried":
            yield {"kind": part.part_kind, "text": _text(getattr(part, "content", None))}


def _text(content: object) -> object:
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        # A picture or a document is named; its bytes belong to whoever has given it.
        return [item if isinstance(item, str) else _named(item) for item in content]
    return to_jsonable_python(content, fallback=str)


def _named(item: object) -> object:
    kind = getattr(item, "kind", None)
    return {"kind": kind} if kind is not None else to_jsonable_python(item, fallback=str)
