"""Pages for people: the automations, one automation, one run with everything that happened in it."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from muster.errors import MusterError
from muster.events.definitions import DefinitionStore
from muster.events.model import Event
from muster.events.queries import Queries, RunRow
from muster.execution.references import run_id as run_key
from muster_airflow.api.access import MAY_SEE_DAG, MAY_SEE_RUN, database, queries, visible_dags

router = APIRouter(default_response_class=HTMLResponse, tags=["pages"])
Asked = Annotated[Queries, Depends(queries)]
EVENTS_SHOWN = 500
"""Events on one page; `/events` has them all."""
RUNS_SHOWN = 200


@router.get("/")
def automations(ask: Asked, visible: Annotated[set[str], Depends(visible_dags)]) -> HTMLResponse:
    """The runs of the automations that the person may see, newest first."""
    runs = [run for run in ask.runs(limit=RUNS_SHOWN) if run.automation in visible]
    return _page("runs.html", title="Automations", runs=runs)


@router.get("/automations/{dag_id}", dependencies=[MAY_SEE_DAG])
def automation(dag_id: str, ask: Asked) -> HTMLResponse:
    """One automation: its last version, and its runs."""
    runs = ask.runs(limit=RUNS_SHOWN, automation=dag_id)
    definition = _definition(runs[0]) if runs else None
    return _page("automation.html", title=dag_id, runs=runs, definition=definition, version=_version(runs))


@router.get("/runs/{dag_id}/{run_id}", dependencies=[MAY_SEE_RUN])
def run(
    dag_id: str,
    run_id: str,
    ask: Asked,
    step: Annotated[str | None, Query(max_length=200)] = None,
    index: Annotated[int | None, Query(ge=0)] = None,
) -> HTMLResponse:
    """One run: how it stands, its steps, what happened, and the definition it was made from."""
    found = ask.run(run_key(dag_id, run_id))
    if found.id != run_key(dag_id, run_id):
        raise MusterError(f"Run {run_key(dag_id, run_id)} has not been opened yet.")
    timeline = [event for event in ask.timeline(found.id) if _about(event, step, index)]
    return _page(
        "run.html",
        title=found.id,
        run=found,
        steps=ask.steps(found.id),
        events=timeline[:EVENTS_SHOWN],
        left_out=len(timeline) - len(timeline[:EVENTS_SHOWN]),
        step=step,
        definition=_definition(found),
    )


def message(text: str, *, status: int) -> HTMLResponse:
    """A page that says one thing."""
    return _page("message.html", status=status, title="Muster", text=text)


def _about(event: Event, step: str | None, index: int | None) -> bool:
    return (step is None or event.data.get("step") == step) and (index is None or event.data.get("index") == index)


def _version(runs: list[RunRow]) -> str:
    return (runs[0].definition or "")[:12] if runs else ""


def _definition(run: RunRow) -> str | None:
    """The definition the run was made from, as YAML."""
    if run.definition is None:
        return None
    content = json.loads(DefinitionStore(database()).get(run.definition))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _page(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(_templates().get_template(template).render(**values), status_code=status)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("muster_airflow.api"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False, default=str)
    environment.filters["clock"] = lambda at: at.strftime("%Y-%m-%d %H:%M:%S %Z") if at else "–"
    return environment
