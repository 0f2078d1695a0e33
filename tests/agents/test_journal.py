"""What was answered is never asked, performed or paid again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from muster.agents.call import AgentCall
from muster.agents.runner import run_agent
from muster.errors import TransientError
from support.agent_services import Services
from support.model_server import ModelServer

Call = Callable[..., AgentCall]
TOOLS = {"tools": ["desk.find_order"]}


def lookup(number: str, **more: object) -> dict[str, object]:
    return {"call": {"name": "desk_find_order", "arguments": {"number": number}}, **more}


async def test_done_work_performed_again_asks_nobody_and_gives_the_same_result(
    server: ModelServer, services: Services, call: Call
) -> None:
    server.script(lookup("A-1"), {"calls": [lookup("A-2")["call"], lookup("A-3")["call"]]}, {"text": "done it"})
    first = await run_agent(call(spec=TOOLS), services)
    again = await run_agent(call(spec=TOOLS), services)
    assert again == first
    assert len(server.calls) == 3
    assert len((services.folder / "calls.txt").read_text().splitlines()) == 3


async def test_work_that_failed_in_the_middle_goes_on_where_it_stopped(
    server: ModelServer, services: Services, call: Call
) -> None:
    server.script(lookup("A-1"), {"status": 500})
    with pytest.raises(TransientError):
        await run_agent(call(spec=TOOLS), services)
    server.script({"text": "done it"})
    result = await run_agent(call(spec=TOOLS), services)
    assert (result.output, result.requests, result.tool_calls) == ("done it", 2, 1)
    assert len(server.calls) == 3
    assert len((services.folder / "calls.txt").read_text().splitlines()) == 1


async def test_a_repair_is_replayed_too(server: ModelServer, services: Services, call: Call) -> None:
    good = {"cost_centre": "4400", "amount": "12.50", "due": "2026-01-31"}
    server.script({"answer": {**good, "cost_centre": "x"}}, {"answer": good})
    first = await run_agent(call(returns="desk.Coding"), services)
    assert await run_agent(call(returns="desk.Coding"), services) == first
    assert len(server.calls) == 2


async def test_a_tools_recorded_error_is_told_again_without_running_the_tool(
    server: ModelServer, services: Services, call: Call
) -> None:
    server.script(lookup("unknown"), {"status": 500})
    with pytest.raises(TransientError):
        await run_agent(call(spec=TOOLS), services)
    server.script({"text": "gave up"})
    assert (await run_agent(call(spec=TOOLS), services)).output == "gave up"
    assert len((services.folder / "calls.txt").read_text().splitlines()) == 1
    assert "There is no order unknown." in json.dumps(server.calls[-1]["messages"])


async def test_the_answer_to_another_question_is_not_used(server: ModelServer, services: Services, call: Call) -> None:
    server.script({"text": "first"}, {"text": "second"})
    assert (await run_agent(call(ask="One?"), services)).output == "first"
    assert (await run_agent(call(ask="Two?"), services)).output == "second"
    assert (await run_agent(call(ask="One?"), services)).output == "first"
    assert len(server.calls) == 2


async def test_each_item_and_each_run_has_answers_of_its_own(
    server: ModelServer, services: Services, call: Call
) -> None:
    server.script({"text": "a"}, {"text": "b"}, {"text": "c"})
    outputs = [
        (await run_agent(call(**which), services)).output
        for which in (
            {"key": "code[0]"},
            {"key": "code[1]"},
            {"run": "demo/2", "key": "code[0]"},
            {"key": "code[1]"},
        )
    ]
    assert outputs == ["a", "b", "c", "b"]


async def test_an_answer_recorded_meanwhile_by_another_execution_is_the_one_that_counts(
    server: ModelServer, services: Services, call: Call
) -> None:
    import asyncio

    server.script({"text": "a", "delay": 0.2}, {"text": "b", "delay": 0.2})
    one, two = await asyncio.gather(run_agent(call(), services), run_agent(call(), services))
    assert one.output == two.output


CRASHING = """
import asyncio, sys
from pathlib import Path
from support.agent_services import OneServer, Services
from muster.agents.call import AgentCall
from muster.agents.runner import run_agent
from muster.agents.spec import AgentSpec
from muster.database import Database
from muster.events.log import EventLog

dsn, url, folder = sys.argv[1:]
database = Database(dsn)
services = Services(
    models=OneServer({"small": url}), log=EventLog(database), database=database,
    site=Path(folder) / "skills", folder=Path(folder),
)
clerk = AgentSpec(id="clerk", department="finance", role="You code invoices.", tiers=["small"],
                  tools=["desk.find_order"])
call = AgentCall(run="demo/1", step="code", key="code", effect_key="demo/1/code", ask="Code it.", agent=clerk)
print(asyncio.run(run_agent(call, services)).output)
"""


def test_a_process_killed_between_two_calls_pays_for_none_of_them_twice(
    server: ModelServer, services: Services, dsn: str, site: Path
) -> None:
    server.script(lookup("A-1"), lookup("A-2"), {"hang": True})
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", CRASHING, dsn, server.url, str(services.folder)]
    process = subprocess.Popen(command, env=environment)
    try:
        deadline = time.monotonic() + 60
        while len(server.calls) < 3 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(server.calls) == 3

    server.script({"text": "done it"})
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert again.stdout.strip() == "done it"
    questions = [json.dumps(request["messages"]) for request in server.calls]
    assert len(questions) == 4
    # Only the request that was under way when the process died is made again.
    assert questions[3] == questions[2]
    assert len(set(questions)) == 3
    assert len((services.folder / "calls.txt").read_text().splitlines()) == 2
