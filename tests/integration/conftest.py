"""One real Airflow for the session: four components, real PostgreSQL, this project's own plugins."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from muster.local.stack import Stack
from support.airflow import Airflow
from support.bank import BankServer, bank_server
from support.model_server import ModelServer

ROOT = Path(__file__).parents[2]


def copy_project(folder: Path) -> Path:
    """This project in a folder of its own, with the skills that tests use."""
    folder.chmod(0o755)
    shutil.copytree(ROOT / "include", folder / "include", ignore=shutil.ignore_patterns("muster", "__pycache__"))
    for name in ("dags", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "include" / "skills").mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("site_skills.py"), folder / "include" / "skills" / "proving.py")
    return folder


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
def project_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Makes copies of this project."""
    return lambda: copy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def airflow(project_folder: Callable[[], Path], models: ModelServer, witness: BankServer) -> Iterator[Airflow]:
    """The stack, on a copy of this project in a folder of its own."""
    project = project_folder()
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
