"""One real Airflow for the session: four components, real PostgreSQL, this project's own plugins."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.local.stack import Stack
from support.airflow import Airflow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """The stack, on a copy of this project in a folder of its own."""
    project = tmp_path_factory.mktemp("project")
    project.chmod(0o755)
    shutil.copytree(ROOT / "include", project / "include", ignore=shutil.ignore_patterns("muster", "__pycache__"))
    for folder in ("dags", "plugins"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "include" / "skills").mkdir(exist_ok=True)
    shutil.copy(Path(__file__).with_name("site_skills.py"), project / "include" / "skills" / "proving.py")
    stack = Stack(project)
    stack.start()
    try:
        yield Airflow(stack)
    finally:
        stack.stop()
