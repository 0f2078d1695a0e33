"""Who may see what, and the database it is read from."""

from __future__ import annotations

from functools import lru_cache

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends

from muster.database import Database
from muster.events.queries import Queries
from muster_airflow.services import CONNECTION, dsn_of

MAY_SEE_RUN = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
"""Opens a route whose path has a `dag_id` to those who may see that Dag's runs."""
MAY_SEE_DAG = Depends(requires_access_dag("GET"))
"""Opens a route whose path has a `dag_id` to those who may see that Dag."""


def visible_dags(user: GetUserDep) -> set[str]:
    """The ids of the Dags that the person may see."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def database() -> Database:
    """Muster's database, found the way Airflow's server finds its connections."""
    from airflow.models.connection import Connection

    return _database(dsn_of(Connection.get_connection_from_secrets(CONNECTION)))


def queries() -> Queries:
    """Questions to the projections."""
    return Queries(database())


@lru_cache(maxsize=2)
def _database(dsn: str) -> Database:
    return Database(dsn, max_size=4, timeout=10)
