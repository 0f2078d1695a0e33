"""Pages for people: the automations, one automation, one run with everything that happened in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

import yaml
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment

from muster.events.costs import by_step
from muster.events.definitions import DefinitionStore
from muster.events.model import EventType
from muster.events.payloads.runs import RunOpened
from muster.events.payloads.work import StepExpanded, StepExtended, TaskAssigned
from muster.events.queries import Queries, answered
from muster.redaction import redact_data
from muster_airflow.api.access import EVENTS, MAY_SEE_DAG, MAY_SEE_RUN, Asked, KnownRun, Sees, Visible, database
from muster_airflow.api.published import current, published, written_for_run
from muster_airflow.api.rendering import environment
from muster_airflow.api.step_status import standings
from muster_airflow.reference import step_of

router = APIRouter(default_response_class=HTMLResponse, tags=["pages"])
EVENTS_SHOWN = 200
"""Events on one page of a timeline."""
MOST_ANSWERS = 10_000
"""Answers of people that are told apart on a run's page; steps and items beyond them have succeeded there."""
RUNS_SHOWN = 50


@router.get("/")
def automations(request: Request, ask: Asked, visible: Visible, sees: Sees) -> HTMLResponse:
    """The automations that the person may see, each with its last run."""
    listed = published(visible)
    open_runs = sees.among([entry.automation for entry in listed], DagAccessEntity.RUN)
    last = ask.latest_runs(open_runs)
    return _page(request, "automations.html", title="Automations", automations=listed, shown=open_runs, last=last)


@router.get("/automations/{dag_id}", dependencies=[MAY_SEE_DAG])
def automation(request: Request, dag_id: str, ask: Asked, sees: Sees) -> HTMLResponse:
    """One automation as it is now, and its last runs; None in place of what the person may not see."""
    known = current(dag_id)
    may_see_runs = sees.may_see(dag_id, DagAccessEntity.RUN)
    runs = ask.runs(limit=RUNS_SHOWN, automation=dag_id) if may_see_runs else None
    if known is None and not runs:
        return message(f"The Dag {dag_id} is not an automation.", status=404)
    about, written = known or (None, None)
    title = about.title if about else dag_id
    return _page(
        request,
        "automation.html",
        title=title,
        name=dag_id,
        about=about,
        written=written,
        runs=runs,
        code=sees.may_see(dag_id, DagAccessEntity.CODE),
    )


@router.get("/runs/{dag_id}/{run_id}", dependencies=[MAY_SEE_RUN])
def run(
    request: Request,
    dag_id: str,
    run_id: str,
    run: KnownRun,
    ask: Asked,
    sees: Sees,
    step: Annotated[str | None, Query(max_length=200)] = None,
    index: Annotated[int | None, Query(ge=0)] = None,
    task: Annotated[str | None, Query(max_length=300)] = None,
    slot: Annotated[str | None, Query(max_length=20)] = None,
    after: Annotated[int, Query(ge=0)] = 0,
    show: Literal["events", "automation"] = "events",
) -> HTMLResponse:
    """One run: how it stands, its steps, and what happened or the automation it was made from.

    If `task` names one of Airflow's tasks, only the events of that task are shown. Its `slot` is the map index; where a
    task has none, Airflow's UI leaves the placeholder there, or a negative number. What the person may not see is None.
    """
    sees_steps = sees.may_see(dag_id, DagAccessEntity.TASK_INSTANCE)
    sees_below = sees.may_see(dag_id, *(EVENTS if show == "events" else [DagAccessEntity.CODE]))
    definition = _definition(run.definition)
    taken = int(slot) if slot is not None and slot.isdecimal() else None
    step = step_of(task) if task is not None else step
    indices = _indices(ask, run.id, definition, step, index, taken) if sees_steps else None
    unpriced = ask.unpriced([run.id])
    events = []
    if show == "events" and sees_below:
        types = [EventType.RUN_OPENED, EventType.RUN_CLOSED] if task is not None and step is None else None
        limit = EVENTS_SHOWN + 1
        events = ask.events(run.id, step=step, indices=indices, types=types, after_version=after, limit=limit)
    # Who may not see people's answers sees of a question only that it was answered.
    sees_answers = sees_steps and sees.may_see(dag_id, *EVENTS)
    answers = ask.events(run.id, types=[EventType.APPROVAL_ANSWERED], limit=MOST_ANSWERS) if sees_answers else []
    return _page(
        request,
        "run.html",
        title=run.id,
        run=run,
        inputs=_inputs(ask, run.id),
        steps=standings(definition, answered(ask.steps(run.id), answers)) if sees_steps else None,
        sees_below=sees_below,
        events=events[:EVENTS_SHOWN],
        unpriced=unpriced,
        unpriced_steps=by_step(unpriced),
        more=len(events) > EVENTS_SHOWN,
        after=after,
        step=step,
        task=task,
        slot=taken,
        indices=indices,
        names=_names(ask, run.id) if sees_steps and sees_below and show == "events" else {},
        show=show,
        written=written_for_run(dag_id, run_id, run.definition) if show == "automation" and sees_below else None,
        resolved=_as_yaml(definition) if show == "automation" and sees_below and definition else None,
    )


def message(text: str, *, status: int) -> HTMLResponse:
    """A page that says one thing."""
    template = _templates().get_template("message.html")
    return HTMLResponse(template.render(title="Muster", text=text), status_code=status)


def _indices(
    ask: Queries, run: str, definition: Mapping[str, Any], step: str | None, index: int | None, slot: int | None
) -> Sequence[int] | None:
    """The positions of the items asked for: one by itself, or those that one mapped task took."""
    if step is None or (index is None and slot is None):
        return None
    if index is not None:
        return [index]
    assert slot is not None
    laid_out = ask.events(run, step=step, types=[EventType.STEP_EXPANDED], limit=100)
    said = StepExpanded.of(laid_out[-1]) if laid_out else None
    if said is not None and said.members is not None:
        taken = ask.events(run, step=step, types=[EventType.TASK_ASSIGNED], limit=EVENTS_SHOWN)
        return sorted({event.index or 0 for event in taken if TaskAssigned.of(event).member == slot})
    positions = said.indices if said is not None else []
    pack = next((entry.get("pack") for entry in definition.get("steps", []) if entry["id"] == step), None)
    size = pack if isinstance(pack, int) else 1
    return positions[slot * size : (slot + 1) * size]


def _names(ask: Queries, run: str) -> dict[tuple[str, int], str]:
    """What the items of teams are called, by step and position."""
    laid_out = (StepExpanded.of(event) for event in ask.events(run, types=[EventType.STEP_EXPANDED], limit=100))
    more = ask.events(run, types=[EventType.STEP_EXTENDED], limit=EVENTS_SHOWN)
    named: list[tuple[str, int, object]] = [(said.step, 0, said.names) for said in laid_out]
    named += [(said.step, said.first, said.names) for said in map(StepExtended.of, more)]
    return {
        (step, index): name
        for step, first, names in named
        if isinstance(names, list)
        for index, name in enumerate(names, first)
        if name is not None
    }


def _inputs(ask: Queries, run: str) -> Any:
    opened = ask.events(run, types=[EventType.RUN_OPENED], limit=1)
    return RunOpened.of(opened[0]).inputs if opened else None


def _definition(hash: str | None) -> dict[str, Any]:
    """The definition the run was made from, as its canonical JSON has it."""
    definition: dict[str, Any] = json.loads(DefinitionStore(database()).as_stored(hash)) if hash else {}
    return definition


def _as_yaml(definition: Mapping[str, Any]) -> str:
    # Definitions that were stored before settings could hold no secret stay as they are: their runs need them.
    return yaml.safe_dump(redact_data(definition), sort_keys=False, allow_unicode=True, width=110)


def _page(request: Request, template: str, **values: Any) -> HTMLResponse:
    # A frame in Airflow's UI may not open other pages of that UI around itself, so links to it are left out there.
    alone = request.headers.get("sec-fetch-dest") == "document"
    return HTMLResponse(_templates().get_template(template).render(alone=alone, **values))


@cache
def _templates() -> Environment:
    return environment()
