"""The fingerprint of a model request: equal for the same question, whichever process asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic_core import to_json, to_jsonable_python

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelMessage
    from pydantic_ai.models import ModelRequestParameters

# Fields that are made anew each time a conversation is played, or that belong to the answer and not to the question.
# With them a recorded answer would not be found again, and its question would be asked and paid for twice.
_VOLATILE = frozenset(
    {
        "timestamp",
        "run_id",
        "conversation_id",
        "usage",
        "provider_response_id",
        "provider_details",
        "provider_url",
        "metadata",
        "finish_reason",
        "failed_attempts",
    }
)


def fingerprint(
    messages: Sequence[ModelMessage], settings: Mapping[str, object] | None, parameters: ModelRequestParameters
) -> str:
    """SHA-256 in hexadecimal over the conversation, the tools and output offered, and the settings.

    The model's own name is left out: an answer stays good when the tier that gave it is gone.
    """
    question = {
        "messages": [_message(message) for message in messages],
        "tools": [
            [tool.name, tool.description, tool.parameters_json_schema]
            for tool in (*parameters.function_tools, *parameters.output_tools)
        ],
        "temperature": (settings or {}).get("temperature"),
    }
    return sha256(to_json(question)).hexdigest()


def _message(message: ModelMessage) -> dict[str, object]:
    from pydantic_ai.messages import ModelResponse

    known: dict[str, object] = {"kind": message.kind, "parts": [_part(part) for part in message.parts]}
    if not isinstance(message, ModelResponse):
        known["instructions"] = message.instructions
    return known


def _part(part: object) -> dict[str, object]:
    fields = {
        name: value
        for name, value in vars(part).items()
        if value is not None and name not in _VOLATILE and not name.startswith("_")
    }
    jsonable: dict[str, object] = to_jsonable_python(fields)
    return dict(sorted(jsonable.items()))
