"""Who may see what, and the database it is read from."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends

from muster.database import Database
from muster.errors import MusterError, TransientError
from muster.events.queries import Queries, RunRow
from muster.execution.references import run_id as run_key
from muster_airflow.connections import CONNECTION, dsn_of

MAY_SEE_RUN = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
"""Opens a route whose path has a `dag_id` to those who may see that Dag's runs."""
MAY_SEE_DAG = Depends(requires_access_dag("GET"))
"""Opens a route whose path has a `dag_id` to those who may see that Dag."""


class UnknownRun(MusterError):
    """The log has no such run: the page says so, and a run that has just been asked for appears on it later."""


def visible_dags(user: GetUserDep) -> set[str]:
    """The ids of the Dags that the person may see."""
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def database() -> Database:
    """Muster's database, found the way Airflow's server finds its connections.

    Raises:
        TransientError: no such connection is set; the page says so until it is.
    """
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        connection = Connection.get_connection_from_secrets(CONNECTION)
    except AirflowNotFoundException as error:
        raise TransientError(
            f"There is no Airflow connection {CONNECTION!r}.", remedy="Set it to Muster's database."
        ) from error
    return _database(dsn_of(connection))


def queries() -> Queries:
    """Questions to the projections."""
    return Queries(database())


def known_run(dag_id: str, run_id: str, ask: Annotated[Queries, Depends(queries)]) -> RunRow:
    """Exactly the run the permission was checked for.

    Raises:
        UnknownRun: the log has none.
    """
    key = run_key(dag_id, run_id)
    if (found := ask.run_of(key)) is None:
        raise UnknownRun(
            f"The log knows no run {key}.",
            remedy="It is opened by its first task; a Dag that is not an automation never is.",
        )
    return found


Asked = Annotated[Queries, Depends(queries)]
"""Questions to the projections, for a route."""
KnownRun = Annotated[RunRow, Depends(known_run)]
"""The run that a route's path names."""
Visible = Annotated[set[str], Depends(visible_dags)]
"""The ids of the Dags that the person who asks may see."""


@lru_cache(maxsize=2)
def _database(dsn: str) -> Database:
    return Database(dsn, max_size=4, timeout=10)
