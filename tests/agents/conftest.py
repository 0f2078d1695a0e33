"""A scripted model server, a site with skills, and the services agents are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muster.agents.call import AgentCall
from muster.agents.spec import AgentSpec
from muster.database import Database
from muster.events.log import EventLog
from support.agent_services import OneServer, Services
from support.model_server import ModelServer
from support.sources import source_of

DESK = source_of(__file__, "agents_desk")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A model server that answers what the test scripts."""
    with ModelServer() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a site's own skills."""
    folder = tmp_path / "skills"
    folder.mkdir()
    (folder / "desk.py").write_text(DESK)
    return folder


@pytest.fixture
def services(server: ModelServer, database: Database, site: Path, tmp_path: Path) -> Services:
    """Services whose only tier is `small`, on a real database."""
    models = OneServer({"small": server.url})
    return Services(models=models, log=EventLog(database), database=database, site=site, folder=tmp_path)


@pytest.fixture
def clerk() -> AgentSpec:
    """An agent with one tier."""
    return AgentSpec(id="clerk", department="finance", role="You code invoices.", tiers=["small"])


@pytest.fixture
def call(clerk: AgentSpec) -> Callable[..., AgentCall]:
    """Makes a call of the clerk."""

    def make(**changes: Any) -> AgentCall:
        agent = changes.pop("agent", clerk)
        if "spec" in changes:
            agent = agent.model_copy(update=changes.pop("spec"))
        given = {"run": "demo/1", "step": "code", "key": "code", "effect_key": "demo/1/code", "ask": "Code it."}
        return AgentCall(agent=agent, **(given | changes))

    return make
