"""Who may see what, and the database it is read from."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.models.dag import DagModel
from fastapi import Depends

from muster.database import Database
from muster.errors import MusterError
from muster.events.queries import Queries, RunRow
from muster.execution import run_id as run_key
from muster_airflow.connections import dsn_in_server

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from airflow.api_fastapi.auth.managers.models.batch_apis import IsAuthorizedDagRequest

MAY_SEE_RUN = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
"""Opens a route whose path has a `dag_id` to those who may see that Dag's runs."""
EVENTS = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM, DagAccessEntity.HITL_DETAIL)
"""What the events of a run hold: how its tasks went, what came out of them, and what people were asked and answered."""
MAY_SEE_EVENTS = [Depends(requires_access_dag("GET", entity)) for entity in (DagAccessEntity.RUN, *EVENTS)]
"""Opens a route whose path has a `dag_id` to those who may see all that the events of that Dag's runs hold."""
MAY_SEE_DAG = Depends(requires_access_dag("GET"))
"""Opens a route whose path has a `dag_id` to those who may see that Dag."""


class Rights:
    """A person's permissions on Dags; each part of a page asks for the permission of what it shows."""

    def __init__(self, user: BaseUser) -> None:
        self._user = user

    def may_see(self, dag_id: str, *entities: DagAccessEntity) -> bool:
        """True when the person may see all of these of a Dag."""
        return all(self.among([dag_id], entity) for entity in entities)

    def among(self, dag_ids: Collection[str], entity: DagAccessEntity) -> list[str]:
        """Those of the Dags of which the person may see this."""
        teams = DagModel.get_dag_id_to_team_name_mapping(list(dag_ids))
        asked: list[IsAuthorizedDagRequest] = [
            {
                "method": "GET",
                "access_entity": entity,
                "details": DagDetails(id=dag_id, team_name=teams.get(dag_id)),
            }
            for dag_id in dag_ids
        ]
        manager = get_auth_manager()
        # First about all of them at once: most people may see it of every Dag, and an auth manager that asks a server
        # then asks it once.
        if manager.batch_is_authorized_dag(asked, user=self._user):
            return list(dag_ids)
        return [
            dag_id
            for dag_id, request in zip(dag_ids, asked, strict=True)
            if manager.batch_is_authorized_dag([request], user=self._user)
        ]


def rights(user: GetUserDep) -> Rights:
    """What the person who asks may see."""
    return Rights(user)


class UnknownRun(MusterError):
    """The log has no such run: the page says so, and a run that has just been asked for appears on it later."""


def visible_dags(user: GetUserDep) -> set[str]:
    """The ids of the Dags that the person may see."""
    # Not by Airflow's `Readable…FilterDep`: they look for the auth manager in the state of the application, and one
    # that a plugin mounts has none there.
    return set(get_auth_manager().get_authorized_dag_ids(user=user, method="GET"))


def database() -> Database:
    """Muster's database, found the way Airflow's server finds its connections.

    Raises:
        TransientError: no such connection is set; the page says so until it is.
    """
    return _database(dsn_in_server())


def queries() -> Queries:
    """Questions to the projections."""
    return Queries(database())


def known_run(dag_id: str, run_id: str, ask: Annotated[Queries, Depends(queries)]) -> RunRow:
    """Exactly the run the permission was checked for.

    Raises:
        UnknownRun: the log has none.
    """
    key = run_key(dag_id, run_id)
    if (row := ask.run_of(key)) is None:
        raise UnknownRun(
            f"The log knows no run {key}.",
            remedy="It is opened by its first task; a Dag that is not an automation never is.",
        )
    return row


Asked = Annotated[Queries, Depends(queries)]
"""Questions to the projections, for a route."""
KnownRun = Annotated[RunRow, Depends(known_run)]
"""The run that a route's path names."""
Sees = Annotated[Rights, Depends(rights)]
"""What the person who asks may see of a Dag beside the Dag itself."""
Visible = Annotated[set[str], Depends(visible_dags)]
"""The ids of the Dags that the person who asks may see."""


@lru_cache(maxsize=2)
def _database(dsn: str) -> Database:
    return Database(dsn, max_size=4, timeout=10)
