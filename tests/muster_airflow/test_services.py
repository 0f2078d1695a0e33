"""What a step works with: in the triggerer as well, the skills of the version its run began with."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.events.keys import OPENED
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.tampering import TamperedLog
from muster.language.definition import Definition
from muster.local.airflow import connection_json


@pytest.fixture
def store(tmp_path: Path, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of published bundles, a project, and Muster's database."""
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(tmp_path / "bundles"))
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path / "project"))
    monkeypatch.delenv("MUSTER_INCLUDE", raising=False)
    return tmp_path / "bundles"


def opened(database: Database, run: str, version: str | None) -> None:
    """A run that began with this version."""
    definition = Definition(name="a", title="A", category="tests", steps=())
    DefinitionStore(database).put(definition.canonical_json(), hash=definition.hash, automation="a")
    data = {"automation": "a", "definition": definition.hash, "bundle_version": version, "inputs": {}}
    EventLog(database).append(run, [NewEvent(type=EventType.RUN_OPENED, data=data, key=OPENED)])


async def test_a_run_in_the_triggerer_has_the_skills_of_its_own_version(
    store: Path, database: Database, tmp_path: Path
) -> None:
    from muster_airflow.services import services_in_triggerer

    for version in ("one", "two"):
        (store / "automations" / "versions" / version / "include" / "skills").mkdir(parents=True)
        opened(database, f"a/{version}", version)
    opened(database, "a/unversioned", None)
    sites = {}
    for run in ("a/one", "a/two", "a/unversioned", "a/never"):
        services = await services_in_triggerer(run)
        sites[run] = services.site
    await services.database.aclose()
    services.database.close()
    present = tmp_path / "project" / "include" / "skills"
    assert sites == {
        "a/one": store / "automations" / "versions" / "one" / "include" / "skills",
        "a/two": store / "automations" / "versions" / "two" / "include" / "skills",
        "a/unversioned": present,
        "a/never": present,
    }


async def test_all_runs_in_the_triggerer_share_one_database(store: Path, database: Database) -> None:
    from muster_airflow.services import services_in_triggerer

    for version in ("one", "two"):
        (store / "b" / "versions" / version / "include").mkdir(parents=True)
        opened(database, f"b/{version}", version)
    one, two = [await services_in_triggerer(f"b/{version}") for version in ("one", "two")]
    assert one.database is two.database
    await one.database.aclose()
    one.database.close()


async def test_requests_to_the_api_server_share_what_they_verified_and_no_connection(
    store: Path, database: Database
) -> None:
    from muster_airflow.services import services_in_server

    def some(count: int) -> list[NewEvent]:
        return [NewEvent(type=EventType.STEP_STARTED, data={"step": "s", "index": n}) for n in range(count)]

    async def verified_anew() -> int:
        """How many events one request verifies."""
        services = services_in_server()
        (check,) = next(services.log._read("a/1", 0, (), None))
        assert [event async for event in services.log.aread("a/1", steps=())] != []
        await services.database.aclose()
        return services.log.version("a/1") - dict(check.parameters)["seen"]

    opened(database, "a/1", None)
    EventLog(database).append("a/1", some(50))
    assert await verified_anew() == 51
    assert await verified_anew() == 0
    EventLog(database).append("a/1", some(2))
    assert await verified_anew() == 2
    with database.connection() as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        connection.execute('UPDATE events SET data = data::jsonb || \'{"requested_by": "eve"}\' WHERE version = 1')
        connection.execute("ALTER TABLE events ENABLE TRIGGER ALL")
    with pytest.raises(TamperedLog, match="event 1"):
        await verified_anew()
    assert services_in_server().database is not services_in_server().database
