"""Circuit breakers round models, agents and tools: what keeps failing is left alone, as the automation says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from muster.agents.call import AgentCall
from muster.agents.runner import run_agent
from muster.errors import PermanentError, TransientError
from muster.recovery.breakers import BreakerOpen, Breakers
from support.agent_services import OneServer, Services
from support.model_server import ModelServer

Call = Callable[..., AgentCall]
ONCE: dict[str, Any] = {"failures": 1, "agent": {"failures": 0}}
"""One failure opens the breaker of a tier; that of an agent never opens."""


@pytest.fixture
def second() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def two(server: ModelServer, second: ModelServer, services: Services, call: Call) -> Callable[..., AgentCall]:
    """Makes calls of an agent with two tiers, the first of which has just failed so often that it is open."""
    services.models = OneServer({"small": server.url, "large": second.url})

    def make(number: int, **breakers: Any) -> AgentCall:
        return call(
            key=f"code[{number}]", spec={"tiers": ["small", "large"]}, settings={"breakers": {**ONCE, **breakers}}
        )

    return make


def states(services: Services) -> dict[str, str]:
    return {breaker.name: breaker.state for breaker in Breakers(services.database).all()}


async def test_a_tier_that_failed_too_often_is_passed_over_without_being_asked(
    server: ModelServer, second: ModelServer, services: Services, two: Call
) -> None:
    server.script({"status": 503})
    for number in range(3):
        result = await run_agent(two(number), services)
        assert result.produced_by == "model:large:large-1"
    assert (len(server.calls), len(second.calls)) == (1, 3)
    assert states(services) == {"tier:small": "open"}
    events = [event async for event in services.log.aread("demo/1", types=["model.called"])]
    assert [event.data["failed"][0]["error"]["class"] for event in events[1:]] == ["BreakerOpen"] * 2


async def test_where_the_automation_says_so_the_work_waits_for_the_tier(
    server: ModelServer, second: ModelServer, services: Services, two: Call
) -> None:
    server.script({"status": 503})
    await run_agent(two(1, when_open="wait"), services)
    with pytest.raises(BreakerOpen) as caught:
        await run_agent(two(2, when_open="wait"), services)
    assert 0 < (caught.value.retry_after or 0) <= 30
    assert (len(server.calls), len(second.calls)) == (1, 1)


async def test_with_every_tier_open_the_work_waits_for_the_first_that_is_probed(
    server: ModelServer, second: ModelServer, services: Services, two: Call
) -> None:
    server.script({"status": 503})
    second.script({"status": 503})
    long = {"tier:small": {"open_seconds": 500}}
    with pytest.raises(TransientError):
        await run_agent(two(1, **long), services)
    with pytest.raises(BreakerOpen, match="tier:large") as caught:
        await run_agent(two(2, **long), services)
    assert (caught.value.retry_after or 0) <= 30
    assert (len(server.calls), len(second.calls)) == (1, 1)


async def test_a_tier_that_is_back_is_used_again_after_one_probe(
    server: ModelServer, services: Services, two: Call
) -> None:
    server.script({"status": 503})
    await run_agent(two(1, open_seconds=0.05), services)
    await run_agent(two(2, open_seconds=0.05), services)
    result = None
    for number in range(3, 60):
        result = await run_agent(two(number, open_seconds=0.05), services)
        if result.produced_by == "model:small:small-1":
            break
    assert result is not None
    assert result.produced_by == "model:small:small-1"
    assert states(services) == {"tier:small": "closed"}


async def test_a_refused_request_opens_nothing(server: ModelServer, services: Services, call: Call) -> None:
    for status in (400, 401, 404):
        server.script({"status": status})
        with pytest.raises(PermanentError):
            await run_agent(call(key=f"code[{status}]", settings={"breakers": {"failures": 1}}), services)
    assert states(services) == {}


async def test_an_agent_that_no_model_answers_is_left_alone(
    server: ModelServer, services: Services, call: Call
) -> None:
    settings = {"breakers": {"tier": {"failures": 0}, "agent": {"failures": 2}}}
    server.script(*[{"status": 500}] * 2)
    for number in range(2):
        with pytest.raises(TransientError):
            await run_agent(call(key=f"code[{number}]", settings=settings), services)
    with pytest.raises(BreakerOpen, match="agent:clerk"):
        await run_agent(call(key="code[2]", settings=settings), services)
    assert len(server.calls) == 2


async def test_a_tool_that_keeps_failing_is_left_alone(server: ModelServer, services: Services, call: Call) -> None:
    settings = {"breakers": {"agent": {"failures": 0}, "tool": {"failures": 1}}}
    tool = {"call": {"name": "desk_find_order", "arguments": {"number": "later"}}}
    server.script(tool, tool)
    for expected in ("locked", "tool:desk.find_order is open"):
        with pytest.raises(TransientError, match=expected):
            await run_agent(call(key=expected, spec={"tools": ["desk.find_order"]}, settings=settings), services)
    assert (services.workspace("demo/1") / "calls.txt").read_text().count("later") == 1
