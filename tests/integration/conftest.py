"""One real Airflow for the session: four components, real PostgreSQL, this project's own plugins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.local.stack import Stack
from support.airflow import Airflow
from support.bank import BankServer, bank_server
from support.model_server import ModelServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def models() -> Iterator[ModelServer]:
    """The scripted model server behind the connection `proving_model`."""
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="session")
def witness() -> Iterator[BankServer]:
    """The server outside that counts what the site's skills do."""
    with bank_server() as server:
        yield server


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, models: ModelServer, witness: BankServer) -> Iterator[Airflow]:
    """The stack, on a copy of this project in a folder of its own."""
    project = tmp_path_factory.mktemp("project")
    project.chmod(0o755)
    shutil.copytree(ROOT / "include", project / "include", ignore=shutil.ignore_patterns("muster", "__pycache__"))
    for folder in ("dags", "plugins"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "include" / "skills").mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("site_skills.py"), project / "include" / "skills" / "proving.py")
    model = {
        "conn_type": "pydanticai",
        "host": models.url,
        "password": "any",
        "extra": {"model": "openai-chat:proving"},
    }
    stack = Stack(project, variables={"AIRFLOW_CONN_PROVING_MODEL": json.dumps(model), "PROVING_WITNESS": witness.url})
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MUSTER_USERS", "finance-head:user")
        stack.start()
    try:
        yield Airflow(stack)
    finally:
        stack.stop()
        stack.discard()
