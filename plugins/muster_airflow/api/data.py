"""JSON for other programs: events of a run, automations with their versions, health."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from muster.events.log import READ_PAGE, EventLog
from muster.events.model import Event
from muster.events.queries import RunRow
from muster_airflow.api.access import MAY_SEE_EVENTS, MAY_SEE_RUN, Asked, KnownRun, Sees, Visible, database
from muster_airflow.api.published import Published, published

router = APIRouter(tags=["data"])


@router.get("/runs/{dag_id}/{run_id}/events", dependencies=MAY_SEE_EVENTS)
def events(
    run: KnownRun,
    ask: Asked,
    step: Annotated[str | None, Query(max_length=200)] = None,
    index: Annotated[int | None, Query(ge=0)] = None,
    after_version: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=READ_PAGE)] = 100,
) -> dict[str, Any]:
    """A page of a run's events in order; ask again after `next` for the next one, until it is null."""
    indices = None if index is None else [index]
    # One more than the page holds tells whether there is a next one.
    rows = ask.events(run.id, step=step, indices=indices, after_version=after_version, limit=limit + 1)
    shown = EventLog(database()).resolve(rows[:limit])
    more = len(rows) > limit
    return {"run": run.id, "events": [as_json(event) for event in shown], "next": shown[-1].version if more else None}


@router.get("/api/runs/{dag_id}/{run_id}", dependencies=[MAY_SEE_RUN])
def run(run: KnownRun) -> dict[str, Any]:
    """The status of a run in Muster's words: Airflow calls every run failed that did not succeed."""
    return {"run": run.id} | {name: value for name, value in asdict(run).items() if name != "id"}


@router.get("/api/automations")
def automations(ask: Asked, visible: Visible, sees: Sees) -> list[dict[str, Any]]:
    """The published automations, each with its last run and the versions that ran, if the person may see those."""
    listed = published(visible)
    names = [entry.automation for entry in listed]
    latest = ask.latest_runs(sees.among(names, DagAccessEntity.RUN))
    versions: dict[str, list[dict[str, str]]] = {name: [] for name in names}
    for row in ask.versions(sees.among(names, DagAccessEntity.VERSION)):
        versions[row.automation].append({"definition": row.hash, "first_seen": row.first_seen.isoformat()})
    return [_automation(entry, latest.get(entry.automation), versions[entry.automation]) for entry in listed]


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
        "id": str(event.id),
        "type": event.type,
        "at": event.at.isoformat(),
        "actor": event.actor,
        "key": event.key,
        "data": event.data,
        "previous_hash": event.previous_hash,
        "hash": event.hash,
    }


def _automation(each: Published, last: RunRow | None, versions: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "automation": each.automation,
        "title": each.title,
        "description": each.description,
        "tags": list(each.tags),
        "valid": each.valid,
        "paused": each.paused,
        "bundle_version": each.bundle_version,
        "last_run": None if last is None else {"id": last.id, "status": last.status, "definition": last.definition},
        "versions": versions,
    }
