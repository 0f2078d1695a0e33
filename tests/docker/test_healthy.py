"""The dag-processor's health, asked of Airflow's own tables in PostgreSQL."""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dag import DagModel, DagTag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.errors import ParseImportError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from muster_airflow.compiler.stub import build_stub
from muster_airflow.invalid import InvalidAutomation

HEALTHY = Path(__file__).parents[2] / "docker" / "healthy.py"


@pytest.fixture
def airflow(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Airflow's tables, in a schema of their own, with one Dag that is loaded."""
    parts = conninfo_to_dict(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE SCHEMA airflow")
    login = f"{parts['user']}:{parts.get('password', '')}@{parts['host']}:{parts['port']}"
    url = f"postgresql+psycopg://{login}/{parts['dbname']}?options=-csearch_path%3Dairflow"
    engine = create_engine(url)
    import_all_models()
    Base.metadata.create_all(engine)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    session = Session(engine)
    session.add(DagBundleModel(name="muster"))
    session.flush()
    session.add(DagModel(dag_id="fine", bundle_name="muster", is_stale=False, description="x"))
    session.commit()
    yield session
    session.close()
    engine.dispose()


def wrong() -> Any:
    """What the health check finds."""
    return runpy.run_path(str(HEALTHY))["not_loaded"]()


def test_a_stub_is_not_healthy_until_it_is_mended(airflow: Session) -> None:
    assert wrong() is None
    stub = build_stub("half", "half.yaml: No module named 'nowhere_at_all'\nInstall it.")
    dag = DagModel(dag_id="half", bundle_name="muster", is_stale=False, description=stub.description)
    airflow.add(dag)
    airflow.flush()
    airflow.add_all(DagTag(dag_id="half", name=tag) for tag in stub.tags)
    airflow.commit()
    assert wrong() == "half does not load: NOT VALID: half.yaml: No module named 'nowhere_at_all'"
    dag.is_stale = True
    airflow.commit()
    assert wrong() is None


def test_the_problem_is_shown_and_not_its_remedy(airflow: Session) -> None:
    problem = "include/automations/a.yaml:2:8: there is no skill `x`\n    2 | skill: x\n      |        ^\nLook them up."
    try:
        raise InvalidAutomation(problem)
    except InvalidAutomation:
        trace = traceback.format_exc()
    airflow.add(ParseImportError(filename="invalid__a.py", bundle_name="muster", stacktrace=trace))
    airflow.commit()
    assert str(wrong()).splitlines() == [
        "invalid__a.py does not load: muster_airflow.invalid.InvalidAutomation:"
        " include/automations/a.yaml:2:8: there is no skill `x`"
    ]
