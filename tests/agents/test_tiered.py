"""Failures of model servers, fallback tiers, prices, limits on money."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from muster.agents.budget import Budget
from muster.agents.call import AgentCall
from muster.agents.runner import run_agent
from muster.agents.spec import AgentLimits
from muster.errors import BudgetExceeded, PermanentError, TransientError
from support.agent_services import OneServer, Services
from support.model_server import ModelServer

Call = Callable[..., AgentCall]
PRICES = {"prices": {"small": {"input": 1, "output": 10}}}
"""100 tokens in and 20 out, as the server counts by default, cost $0.0003."""


@pytest.fixture
def second() -> Iterator[ModelServer]:
    """The server of a second tier."""
    with ModelServer() as running:
        yield running


async def called(services: Services) -> list[dict[str, Any]]:
    return [dict(event.data) async for event in services.log.aread("demo/1", types=["model.called"])]


async def test_a_429_is_transient_and_carries_the_seconds_the_server_asked_for_and_is_not_repeated(
    server: ModelServer, services: Services, call: Call
) -> None:
    server.script({"status": 429, "headers": {"retry-after": "7"}})
    with pytest.raises(TransientError) as caught:
        await run_agent(call(), services)
    assert caught.value.retry_after == 7.0
    assert len(server.calls) == 1
    assert await called(services) == []


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"status": 503},
        {"garbage": "<html>busy</html>"},
        {"body": {"choices": []}},
        {"body": [1]},
    ],
)
async def test_an_outage_or_nonsense_is_transient(
    server: ModelServer, services: Services, call: Call, answer: dict[str, Any]
) -> None:
    server.script(answer)
    with pytest.raises(TransientError, match="small:small-1"):
        await run_agent(call(), services)
    assert len(server.calls) == 1


async def test_a_server_that_hangs_is_given_up_after_the_request_timeout(
    server: ModelServer, services: Services, call: Call
) -> None:
    server.script({"hang": True})
    with pytest.raises(TransientError, match=r"did not answer within 0\.2 seconds"):
        await run_agent(call(request_timeout=0.2), services)


async def test_a_server_that_is_not_there_is_transient(services: Services, call: Call) -> None:
    services.models = OneServer({"small": "http://127.0.0.1:9/v1"})
    with pytest.raises(TransientError, match="cannot be reached"):
        await run_agent(call(), services)


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refused_request_or_key_is_permanent(
    server: ModelServer, services: Services, call: Call, status: int
) -> None:
    server.script({"status": status})
    with pytest.raises(PermanentError, match="refused"):
        await run_agent(call(), services)
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "answer", [{"status": 429}, {"status": 500}, {"status": 401}, {"garbage": "x"}, {"hang": True}]
)
async def test_the_next_tier_answers_when_one_fails_and_the_log_says_why(
    server: ModelServer, second: ModelServer, services: Services, call: Call, answer: dict[str, Any]
) -> None:
    services.models = OneServer({"small": server.url, "large": second.url})
    server.script(answer)
    result = await run_agent(call(spec={"tiers": ["small", "large"]}, request_timeout=3), services)
    assert result.produced_by == "model:large:large-1"
    (event,) = await called(services)
    assert (event["tier"], event["failed"][0]["tier"]) == ("large", "small")
    assert event["failed"][0]["error"]["message"].startswith("small:small-1 ")


async def test_a_tier_that_failed_is_not_asked_again_in_the_same_work(
    server: ModelServer, second: ModelServer, services: Services, call: Call
) -> None:
    services.models = OneServer({"small": server.url, "large": second.url})
    server.script({"status": 500})
    second.script({"call": {"name": "desk_find_order", "arguments": {"number": "A-1"}}}, {"text": "found"})
    spec = {"tiers": ["small", "large"], "tools": ["desk.find_order"]}
    assert (await run_agent(call(spec=spec), services)).output == "found"
    assert (len(server.calls), len(second.calls)) == (1, 2)


async def test_when_every_tier_fails_the_error_names_each_and_is_transient_if_one_may_recover(
    server: ModelServer, second: ModelServer, services: Services, call: Call
) -> None:
    services.models = OneServer({"small": server.url, "large": second.url})
    server.script({"status": 401})
    second.script({"status": 429, "headers": {"retry-after": "3"}})
    with pytest.raises(TransientError, match=r"small:small-1.*large:large-1") as caught:
        await run_agent(call(spec={"tiers": ["small", "large"]}), services)
    assert caught.value.retry_after == 3.0


async def test_a_known_price_gives_the_cost_of_every_call(server: ModelServer, services: Services, call: Call) -> None:
    server.script({"model": "gpt-4o-mini", "usage": {"input_tokens": 1_000_000, "output_tokens": 0}})
    result = await run_agent(call(), services)
    assert result.cost == Decimal("0.15")
    assert (await called(services))[0]["cost"] == "0.15"


async def test_a_sites_own_price_is_used_and_without_any_the_cost_is_unknown_and_not_zero(
    server: ModelServer, services: Services, call: Call
) -> None:
    priced = await run_agent(call(settings=PRICES), services)
    assert priced.cost == Decimal("0.0003")
    unpriced = await run_agent(call(key="other"), services)
    assert unpriced.cost is None
    assert [event["cost"] for event in await called(services)] == ["0.0003", None]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"budget": Decimal(1)}, r"`budget\.usd`"),
        ({"spec": {"limits": AgentLimits(usd=Decimal(1))}}, r"`limits\.usd` of the agent"),
    ],
)
async def test_a_limit_that_cannot_be_counted_is_refused_before_the_first_call(
    server: ModelServer, services: Services, call: Call, more: dict[str, Any], what: str
) -> None:
    with pytest.raises(PermanentError, match=rf"No price is known for small:small-1, so {what}") as caught:
        await run_agent(call(**more), services)
    assert server.calls == []
    assert "prices: {small-1:" in (caught.value.remedy or "")
    await run_agent(call(settings={"prices": {"small": {"input": 0, "output": 0}}}, **more), services)
    assert len(server.calls) == 1, "zero is a price"


async def test_an_answer_under_a_name_without_a_price_costs_what_was_asked_for(
    server: ModelServer, services: Services, call: Call
) -> None:
    server.script({"model": "somebody-elses-name"})
    result = await run_agent(call(settings=PRICES, budget=Decimal(1)), services)
    assert result.cost == Decimal("0.0003")


async def test_a_call_that_would_pass_the_runs_budget_is_not_made(
    server: ModelServer, services: Services, call: Call
) -> None:
    money = {"settings": PRICES, "budget": Decimal("0.02")}
    server.script({"usage": {"input_tokens": 100, "output_tokens": 1_950}})  # $0.0196
    await run_agent(call(**money), services)
    with pytest.raises(BudgetExceeded, match=r"\$0\.0196 of the run's budget of \$0\.02 is spent"):
        await run_agent(call(key="second", **money), services)
    assert len(server.calls) == 1


async def test_what_another_process_spent_counts(server: ModelServer, services: Services, call: Call) -> None:
    from muster.events.log import EventLog

    money = {"settings": PRICES, "budget": Decimal("0.02")}
    server.script({"usage": {"input_tokens": 100, "output_tokens": 1_950}})
    await run_agent(call(**money), services)
    services.log = EventLog(services.database)
    with pytest.raises(BudgetExceeded):
        await run_agent(call(key="second", **money), services)
    assert len(server.calls) == 1


async def test_another_runs_spending_does_not_count(server: ModelServer, services: Services, call: Call) -> None:
    money = {"settings": PRICES, "budget": Decimal("0.02")}
    server.script({"usage": {"input_tokens": 100, "output_tokens": 1_950}})
    await run_agent(call(**money), services)
    await run_agent(call(run="demo/2", **money), services)
    assert len(server.calls) == 2


async def test_calls_at_the_same_time_do_not_overshoot_the_budget_together(
    server: ModelServer, services: Services, call: Call
) -> None:
    # Each call is estimated at about $0.0105 and costs $0.0103: one fits, two do not.
    server.always({"delay": 0.05, "usage": {"input_tokens": 300, "output_tokens": 1_000}})
    money = {"settings": PRICES, "budget": Decimal("0.02")}
    work = [run_agent(call(key=f"code[{index}]", index=index, **money), services) for index in range(20)]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert sum(isinstance(result, BudgetExceeded) for result in results) == 19
    assert len(server.calls) == 1


async def test_a_call_waits_for_others_that_may_turn_out_cheap_instead_of_giving_up(
    server: ModelServer, services: Services, call: Call
) -> None:
    # Estimated at about $0.0105 a call, really $0.0003: all ten fit into $0.02, one after the other.
    server.always({"delay": 0.01})
    money = {"settings": PRICES, "budget": Decimal("0.02")}
    work = [run_agent(call(key=f"code[{index}]", index=index, **money), services) for index in range(10)]
    assert len(await asyncio.gather(*work)) == 10
    assert sum(Decimal(event["cost"]) for event in await called(services)) == Decimal("0.003")


async def test_a_failed_call_gives_its_reservation_back(server: ModelServer, services: Services, call: Call) -> None:
    money = {"settings": {**PRICES, "breakers": {"failures": 0}}, "budget": Decimal("0.02")}
    for number in range(5):
        server.script({"status": 500})
        with pytest.raises(TransientError):
            await run_agent(call(key=f"code[{number}]", **money), services)
    assert (await run_agent(call(key="last", **money), services)).output == "done"


async def test_an_agents_own_limit_on_money_stops_its_next_call(
    server: ModelServer, services: Services, call: Call
) -> None:
    server.script(
        {
            "call": {"name": "desk_find_order", "arguments": {"number": "A-1"}},
            "usage": {"input_tokens": 100, "output_tokens": 1_950},
        },
    )
    limits = call().agent.limits.model_copy(update={"usd": Decimal("0.02")})
    with pytest.raises(BudgetExceeded, match="clerk"):
        await run_agent(call(settings=PRICES, spec={"limits": limits, "tools": ["desk.find_order"]}), services)
    assert len(server.calls) == 1


async def test_a_price_that_is_no_price_is_an_error_that_shows_the_form(services: Services, call: Call) -> None:
    with pytest.raises(PermanentError, match=r"settings\.prices\.small.*input: 0\.15"):
        await run_agent(call(settings={"prices": {"small": {"input": "cheap"}}}), services)


async def test_a_call_that_ends_while_the_log_is_asked_waits_for_nothing_and_leaves_no_reservation() -> None:
    asked, answers = asyncio.Event(), asyncio.Event()
    answers.set()

    async def spent() -> tuple[Decimal, int]:
        asked.set()
        await answers.wait()
        return Decimal(0), 0

    budget = Budget(Decimal(10), spent, refresh=0.0)
    await budget.reserve(Decimal(6))
    answers.clear()
    asked.clear()
    other = asyncio.create_task(budget.reserve(Decimal(6)))
    await asked.wait()

    budget.settle(Decimal(6))
    answers.set()
    await asyncio.wait_for(other, 10)
