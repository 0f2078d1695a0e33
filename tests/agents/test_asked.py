"""What a model was asked is kept in words; documents are named and not kept a second time."""

from __future__ import annotations

from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolReturnPart,
    UserPromptPart,
)

from muster.agents.prompt_record import asked


def test_each_request_says_what_is_new_in_it() -> None:
    picture = BinaryContent(data=b"\x89PNG", media_type="image/png")
    first = ModelRequest(
        parts=[UserPromptPart(content=["What is this?", picture, ImageUrl(url="https://example.org/a.png")])],
        instructions="You look.",
    )
    assert asked([first]) == [
        {"kind": "instructions", "text": "You look."},
        {"kind": "user-prompt", "text": ["What is this?", {"kind": "binary"}, {"kind": "image-url"}]},
    ]
    again = ModelRequest(
        parts=[
            ToolReturnPart(tool_name="find", content="found", tool_call_id="1"),
            ToolReturnPart(tool_name="answer", content="Say it shorter.", tool_call_id="2", outcome="retried"),
        ],
        instructions="You look.",
    )
    assert asked([first, ModelResponse(parts=[TextPart("a cat")]), again]) == [
        {"kind": "tool-return", "text": "Say it shorter."}
    ]
    assert asked([]) == []
