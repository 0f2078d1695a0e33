"""JSON for other programs: events of a run, automations with their versions, health."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from muster.events.log import READ_PAGE
from muster.events.model import Event
from muster.events.queries import Queries
from muster.execution.references import run_id as run_key
from muster_airflow.api.access import MAY_SEE_RUN, database, queries, visible_dags

router = APIRouter(tags=["data"])
Asked = Annotated[Queries, Depends(queries)]


@router.get("/runs/{dag_id}/{run_id}/events", dependencies=[MAY_SEE_RUN])
def events(
    dag_id: str,
    run_id: str,
    ask: Asked,
    after_version: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=READ_PAGE)] = 100,
) -> dict[str, Any]:
    """A page of a run's events in order; ask again with the last `version` for the next one."""
    run = ask.run(run_key(dag_id, run_id))
    found = [event for event in ask.timeline(run.id) if event.version > after_version]
    return {"run": run.id, "total": len(found), "events": [as_json(event) for event in found[:limit]]}


@router.get("/api/automations")
def automations(ask: Asked, visible: Annotated[set[str], Depends(visible_dags)]) -> list[dict[str, Any]]:
    """The automations that have run, with the version of their last run."""
    latest: dict[str, dict[str, Any]] = {}
    for run in ask.runs(limit=1000):
        if run.automation in visible and run.automation not in latest:
            latest[run.automation] = {
                "automation": run.automation,
                "version": run.definition,
                "last_run": run.id,
                "status": run.status,
            }
    return [latest[name] for name in sorted(latest)]


@router.get("/health")
def health() -> JSONResponse:
    """Whether Muster's database answers."""
    try:
        with database().connection() as connection:
            connection.execute("SELECT 1")
    except Exception as error:
        return JSONResponse({"database": f"unreachable: {type(error).__name__}"}, status_code=503)
    return JSONResponse({"database": "healthy"})


def as_json(event: Event) -> dict[str, Any]:
    """An event as JSON."""
    return {
        "position": event.position,
        "version": event.version,
        "type": event.type,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "key": event.key,
        "data": event.data,
        "hash": event.hash,
    }
