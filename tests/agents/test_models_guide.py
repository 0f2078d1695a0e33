"""The guide to models: every connection it shows opens a model, and one of them does real work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from muster.agents.prices import price_table
from muster.agents.spec import AgentFile
from support.model_server import ModelServer

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "models.md").read_text()
CONNECTIONS = [json.loads(text) for text in re.findall(r"AIRFLOW_CONN_MUSTER_DEFAULT='(.+)'", GUIDE)]

WORK = """
import asyncio, sys
from pathlib import Path
from support.agent_services import Services
from muster.agents.call import AgentCall
from muster.agents.runner import run_agent
from muster.agents.spec import AgentSpec
from muster.database import Database
from muster.events.log import EventLog
from muster_airflow.models import ConnectionModels

async def main():
    models = ConnectionModels()
    for tier in sys.argv[2:]:
        model = await models.model(tier)
        print("opened", model.system, model.model_name, model.base_url, sep="|")
    database = Database(sys.argv[1])
    services = Services(models=models, log=EventLog(database), database=database, site=None, folder=Path("."))
    clerk = AgentSpec(id="clerk", role="You code invoices.", tiers=["not_connected", "muster_default"])
    call = AgentCall(run="demo/1", step="a", key="a", effect_key="demo/1/a", agent=clerk, ask="Hello?")
    result = await run_agent(call, services)
    print("answered", result.output, result.produced_by, sep="|")

asyncio.run(main())
"""

AT_ONCE = """
import asyncio
from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
from airflow.sdk import Connection
from muster_airflow.models import ConnectionModels

opened, find, get = [], Connection.async_get, PydanticAIHook.get_conn

async def found(tier):
    await asyncio.sleep(0.01)
    return await find(tier)

def counted(hook):
    opened.append(hook)
    return get(hook)

Connection.async_get, PydanticAIHook.get_conn = found, counted

async def main():
    models = ConnectionModels()
    given = await asyncio.gather(*(models.model("muster_default") for _ in range(9)))
    print(len(opened), len(set(map(id, given))))

asyncio.run(main())
"""


def test_work_items_that_ask_for_a_model_at_once_share_one(tmp_path: Path) -> None:
    assert _python(AT_ONCE, home=tmp_path, muster_default=CONNECTIONS[0]) == ["1 1"]


def test_the_guides_connections_open_the_models_they_name_and_an_agent_works_through_one(
    server: ModelServer, dsn: str, tmp_path: Path
) -> None:
    assert len(CONNECTIONS) == 4
    given = {f"tier_{number}": connection for number, connection in enumerate(CONNECTIONS)}
    server.script({"text": "connected"})
    connection = CONNECTIONS[0] | {"host": server.url}
    said = _python(WORK, dsn, *given, home=tmp_path, muster_default=connection, **given)

    opened = [line.split("|")[1:] for line in said if line.startswith("opened|")]
    for (system, name, url), shown in zip(opened, CONNECTIONS, strict=True):
        assert shown["extra"]["model"].partition(":")[2] == name
        assert system == ("anthropic" if name.startswith("claude") else "openai")
        assert url.startswith(shown.get("host", "https://api."))
    assert said[-1] == "answered|connected|model:muster_default:qwen3:8b"
    assert server.calls[0]["token"] == "ollama"


def test_the_yaml_of_the_guide_is_valid() -> None:
    agents, settings = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.+?)```", GUIDE, re.DOTALL))
    AgentFile.model_validate({"department": "finance", **agents})
    assert price_table(settings["settings"]) is not None


def _python(code: str, *arguments: str, home: Path, **connections: dict[str, object]) -> list[str]:
    environment = os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "PYTHONPATH": str(ROOT / "tests"),
        **{f"AIRFLOW_CONN_{name.upper()}": json.dumps(each) for name, each in connections.items()},
    }
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=home)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()
