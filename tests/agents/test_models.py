"""What is done to the model of a connection before it is used."""

from __future__ import annotations

from muster.agents.models import CONNECT_TIMEOUT, connected
from support.agent_services import OneServer


async def test_tiers_come_in_order_without_those_that_have_no_connection() -> None:
    models = OneServer({"b": "http://127.0.0.1:9/v1", "a": "http://127.0.0.1:9/v1"})
    assert [tier.label for tier in await connected(["a", "x", "b"], models)] == ["a:a-1", "b:b-1"]


async def test_a_clients_own_retries_are_off_and_it_has_the_patience_a_busy_loop_needs() -> None:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    anthropic = AnthropicModel("claude", provider=AnthropicProvider(api_key="k"))
    openai = await OneServer({"a": "http://127.0.0.1:9/v1"}).model("a")
    assert openai is not None

    class Both:
        async def model(self, tier: str) -> FallbackModel:
            return FallbackModel(openai, anthropic)

    await connected(["both"], Both())
    for model in (openai, anthropic):
        assert model.client.max_retries == 0
        assert model.client.timeout.connect == CONNECT_TIMEOUT
        assert model.client.timeout.read == 600
