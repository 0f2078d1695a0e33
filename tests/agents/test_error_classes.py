"""Promises of agents' failures: each has its kind, and an unusable conversation is not repeated from the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muster.agents.call import AgentCall
from muster.agents.runner import run_agent
from muster.database import Database
from muster.errors import ErrorClass, MusterError
from support.agent_services import OneServer, Services
from support.model_server import ModelServer
from support.runs import Site

Call = Callable[..., AgentCall]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 429, "headers": {"retry-after": "7"}}, "rate_limit"),
        ({"status": 503}, "overload"),
        ({"status": 500}, "transient"),
        ({"status": 401}, "auth"),
        ({"status": 400}, "bad_request"),
        ({"hang": True}, "timeout"),
        ({"garbage": "<html>"}, "transient"),
    ],
)
async def test_what_a_model_server_answers_has_its_kind(
    server: ModelServer, services: Services, call: Call, answer: dict[str, Any], kind: str
) -> None:
    server.script(answer)
    with pytest.raises(MusterError) as caught:
        await run_agent(call(request_timeout=0.5), services)
    assert caught.value.error_class == kind


async def test_several_tiers_share_a_kind_or_have_none_of_their_own(
    server: ModelServer, services: Services, call: Call
) -> None:
    services.models = OneServer({"small": server.url, "large": server.url})
    for first, second, kind in ((429, 401, "rate_limit"), (429, 503, "transient"), (401, 400, "permanent")):
        server.reset()
        server.script({"status": first}, {"status": second})
        with pytest.raises(MusterError) as caught:
            await run_agent(call(spec={"tiers": ["small", "large"]}, run=f"demo/{kind}"), services)
        assert caught.value.error_class == ErrorClass(kind)


AUTOMATION = """
automation: tested
steps:
  - {id: count, agent: clerk, ask: Count., retry: {times: TIMES, delay: 1h}}
"""
AGENTS = """
department: office
agents:
  - id: clerk
    role: You count.
    tiers: [small]
    retries: 0
    returns: {type: object, properties: {n: {type: integer}}, required: [n]}
"""


def test_after_an_unusable_answer_the_agent_is_asked_afresh_and_at_once(
    server: ModelServer, tmp_path: Path, database: Database
) -> None:
    site = Site(tmp_path, database, models=OneServer({"small": server.url}))
    site.agents(AGENTS)
    server.script({"answer": {"n": "many"}}, {"answer": {"n": "lots"}}, {"answer": {"n": 3}})
    run = site.open(site.definition(AUTOMATION.replace("TIMES", "2")))
    outcome = site.step(run, "count")
    assert outcome.status == "succeeded", outcome.reason
    assert site.state(run).step("count").output == {"n": 3}
    events = list(site.services.log.read(run))
    assert [event.data["class"] for event in events if event.type == "step.retried"] == ["bad_output"] * 2
    assert [event.data["delay"] for event in events if event.type == "step.retried"] == [0, 0]
    assert len([event for event in events if event.type == "model.called"]) == 3 == len(server.calls)


def test_a_restart_does_not_answer_from_a_conversation_that_came_to_nothing(
    server: ModelServer, tmp_path: Path, database: Database
) -> None:
    site = Site(tmp_path, database, models=OneServer({"small": server.url}))
    site.agents(AGENTS)
    server.script({"answer": {"n": "many"}}, {"answer": {"n": 3}})
    run = site.open(site.definition(AUTOMATION.replace("TIMES", "0")))
    assert site.step(run, "count").status == "failed"
    assert site.step(run, "count", epoch=1).status == "succeeded"
    assert site.state(run).step("count").output == {"n": 3}
