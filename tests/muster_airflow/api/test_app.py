"""Promises of the plugin's pages: closed to strangers, true to the log, harmless whatever the log holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from airflow.api_fastapi.app import _AuthManagerState
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from muster.database import Database
from muster.events.definitions import DefinitionStore
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.language import Definition

Get = Callable[..., httpx.Response]
HOSTILE = '</pre><script>alert("x")</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\0'
RUN = "/muster/runs/greeting/monday"


@pytest.fixture
def run(log: Database, definition: Definition) -> str:
    """A run of three items, two of them in one task; one item is set aside, and the log holds hostile text."""
    return write_run(log, definition, "monday")


def write_run(log: Database, definition: Definition, dag_run_id: str, *, automation: str = "greeting") -> str:
    """Write a run's whole life."""
    content = definition.canonical_json()
    DefinitionStore(log).put(content, hash=definition.hash, automation=automation)
    opening = {
        "automation": automation,
        "definition": definition.hash,
        "bundle_version": "bundle-7",
        "inputs": {"names": ["a", "b", HOSTILE]},
        "trigger": "manual",
        "requested_by": "<i>ann</i>",
        "dag_id": automation,
        "dag_run_id": dag_run_id,
    }
    greet = [{"step": "greet", "index": index} for index in range(3)]
    error = {"class": "SetAside", "message": HOSTILE, "remedy": None}
    called = {**greet[1], "agent": "clerk", "model": "small", "cost": "0.0421"}
    facts = [
        (EventType.RUN_OPENED, opening),
        (EventType.STEP_EXPANDED, {"step": "greet", "length": 3, "indices": [0, 1, 2]}),
        *((EventType.STEP_STARTED, {**each, "kind": "skill", "lane": "worker", "attempt": 1}) for each in greet),
        (EventType.STEP_SUCCEEDED, {**greet[0], "output": "first output", "produced_by": "rules"}),
        (EventType.MODEL_CALLED, called),
        (EventType.STEP_SUCCEEDED, {**greet[1], "output": "x" * 100_000, "produced_by": "clerk"}),
        (EventType.STEP_SET_ASIDE, {**greet[2], "findings": [{"rule": HOSTILE}], "error": error}),
        (EventType.RUN_CLOSED, {"status": "failed", "reason": HOSTILE, "counts": {"succeeded": 2, "set_aside": 1}}),
    ]
    id = f"{automation}/{dag_run_id}"
    EventLog(log).append(id, [NewEvent(type=kind, data=data, actor="<u>actor</u>") for kind, data in facts])
    return id


def routes() -> list[APIRoute]:
    from muster_airflow.api.app import create_app

    found = [route for route in create_app().routes if isinstance(route, APIRoute)]
    assert len(found) >= 6
    return found


def addresses(*, of_a_dag: bool | None = None) -> Iterator[str]:
    for route in routes():
        if of_a_dag is None or of_a_dag == ("{dag_id}" in route.path):
            yield "/muster" + route.path.format(dag_id="greeting", run_id="monday")


def test_every_route_is_closed_to_strangers(server: TestClient, run: str) -> None:
    for address in addresses():
        assert server.get(address).status_code == 401, address
        forged = server.get(address, headers={"Authorization": "Bearer ey.forged.token"})
        assert forged.status_code in (401, 403), address
        assert "monday" not in forged.text, address


def test_every_page_of_a_dag_is_closed_to_those_who_may_not_see_the_dag(
    server: TestClient, token: Callable[[str | None], dict[str, str]], run: str
) -> None:
    for address in addresses(of_a_dag=True):
        answer = server.get(address, headers=token(None))
        assert answer.status_code == 403, address
        assert "hello" not in answer.text, address


def test_lists_leave_out_what_the_person_may_not_see(
    server: TestClient, token: Callable[[str | None], dict[str, str]], run: str
) -> None:
    listing = server.get("/muster/", headers=token(None))
    assert listing.status_code == 200
    assert "greeting" not in listing.text
    assert server.get("/muster/api/automations", headers=token(None)).json() == []


def test_every_route_opens_to_a_viewer_and_none_takes_anything_but_get(viewer: Get, run: str) -> None:
    for address in addresses():
        answer = viewer(address)
        assert answer.status_code == 200, (address, answer.text[:500])
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        # The one script there is has no address and takes nothing from the page.
        assert re.fullmatch(r"'sha256-[^ ']+'", policy.partition("script-src ")[2].partition(";")[0])
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert {method for route in routes() for method in route.methods} == {"GET"}


def test_there_is_no_page_that_lists_the_routes(viewer: Get, log: Database) -> None:
    for address in ("/muster/docs", "/muster/redoc", "/muster/openapi.json"):
        assert viewer(address).status_code == 404


def test_a_run_is_shown_with_its_steps_its_events_and_who_asked(viewer: Get, definition: Definition, run: str) -> None:
    page = viewer(RUN).text
    for told in ("greeting/monday", "bundle-7", definition.hash[:12], "0.0421 USD", "&lt;i&gt;ann&lt;/i&gt;"):
        assert told in page, told
    assert "Say hello" in page
    assert "2 succeeded" in page
    assert "1 set aside" in page
    assert 'class="s pending">pending' in page, "the step that has not begun"
    for kind in ("run.opened", "step.expanded", "model.called", "step.set_aside", "run.closed"):
        assert kind in page, kind
    assert "first output" in page


@pytest.mark.parametrize(
    "address", ["/muster/", "/muster/automations/greeting", RUN, f"{RUN}?step=greet", f"{RUN}?show=automation"]
)
def test_nothing_in_the_log_becomes_part_of_a_page(viewer: Get, run: str, address: str) -> None:
    page = viewer(address).text
    assert page.count("<script>") == 1, "the one that is named by its hash"
    for mark in ("<script src", "<script>alert", "<img", "<i>", "<u>", "<b>everyone", "</pre><"):
        assert mark not in page.replace("</pre></details>", ""), mark
    assert "onerror=alert(1)&gt;49" not in page, "a template in a template"


def test_a_large_value_does_not_make_the_page_large(viewer: Get, run: str) -> None:
    assert "x" * 1000 not in viewer(RUN).text
    answer = viewer(f"{RUN}/events?step=greet&index=1")
    assert answer.status_code == 200, answer.text
    found = answer.json()["events"]
    assert found[-1]["data"]["output"] == "x" * 100_000


def test_a_program_is_told_how_a_run_stands(viewer: Get, run: str) -> None:
    told = viewer("/muster/api/runs/greeting/monday").json()
    assert (told["run"], told["status"]) == ("greeting/monday", "failed")
    assert told["reason"] == HOSTILE.replace("\0", ""), "no row of a table holds a null character"
    assert (told["succeeded"], told["set_aside"], told["calls"], told["cost_usd"]) == (2, 1, 1, "0.0421")
    assert told["closed_at"] >= told["opened_at"]


def test_a_step_or_an_item_can_be_looked_at_alone(viewer: Get, run: str) -> None:
    of_step = viewer(f"{RUN}?step=greet").text
    assert "step.expanded" in of_step
    assert "run.opened" not in of_step
    of_item = viewer(f"{RUN}?step=greet&index=2").text
    assert "step.set_aside" in of_item
    assert "model.called" not in of_item
    assert "step.expanded" not in of_item


def test_a_mapped_task_shows_the_items_it_took(viewer: Get, run: str) -> None:
    first = viewer(f"{RUN}?task=greet&slot=0").text
    assert "items 0, 1" in first
    assert "model.called" in first
    assert "step.set_aside" not in first
    second = viewer(f"{RUN}?task=greet&slot=1").text
    assert "step.set_aside" in second
    assert "model.called" not in second


def test_a_member_of_a_team_shows_the_tasks_it_took_by_their_names(viewer: Get, log: Database, run: str) -> None:
    names, place = ["design", HOSTILE, "test"], {"step": "greet", "agent": "clerk", "mark": "m", "why": "free"}
    laid_out = {"step": "greet", "length": 3, "indices": [0, 1, 2], "members": ["clerk", "clerk"], "names": names}
    taken = [{**place, "index": 0, "member": 0}, {**place, "index": 1, "member": 1}, {**place, "index": 2, "member": 1}]
    facts = [(EventType.STEP_EXPANDED, laid_out), *((EventType.TASK_ASSIGNED, said) for said in taken)]
    EventLog(log).append(run, [NewEvent(type=kind, data=data) for kind, data in facts])
    page = viewer(f"{RUN}?step=greet").text
    assert ">design</a>" in page
    assert "<script>alert" not in page
    assert "items 1, 2" in viewer(f"{RUN}?task=greet&slot=1").text
    first = viewer(f"{RUN}?task=greet&slot=0").text
    assert "item 0" in first
    assert "step.set_aside" not in first


@pytest.mark.parametrize("slot", ["{MAP_INDEX}", "-1", "undefined"])
def test_a_task_that_is_not_mapped_shows_its_whole_step(viewer: Get, run: str, slot: str) -> None:
    assert "step.set_aside" in viewer(f"{RUN}?task=greet.items&slot={slot}").text
    ends = viewer(f"{RUN}?task=close&slot={slot}").text
    assert "run.closed" in ends
    assert "model.called" not in ends
    assert "Say hello" not in ends, "the table of steps"


def test_the_automation_is_shown_as_it_was_written(viewer: Get, run: str) -> None:
    page = viewer(f"{RUN}?show=automation").text
    assert "# This comment is only in what was written." in page
    assert "As it runs" in page
    assert "This comment" in viewer("/muster/automations/greeting").text


def test_yaml_of_another_version_is_never_shown_as_the_runs_own(viewer: Get, log: Database, include: Any) -> None:
    from muster.language import load_folder

    other = load_folder(include).definitions["greeting"].model_copy(update={"title": "Before the edit"})
    write_run(log, other, "earlier")
    page = viewer("/muster/runs/greeting/earlier?show=automation").text
    assert "Before the edit" in page
    assert "This comment" not in page


def test_a_long_timeline_comes_in_pages_that_leave_nothing_out(viewer: Get, log: Database, run: str) -> None:
    note = NewEvent(type="step.started", data={"step": "tell", "index": None})
    EventLog(log).append(run, [note] * 450)
    address, versions = RUN, list[int]()
    while address:
        page = viewer(address).text
        versions += [int(cell.split("<")[0]) for cell in page.split('<td class="n mute">')[1:]]
        later = page.partition('<a href="?after=')[2].partition("#")[0]
        address = f"{RUN}?after={later}" if later else ""
    assert versions == list(range(1, 461))


def test_a_program_reads_all_events_page_by_page(viewer: Get, run: str) -> None:
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = viewer(f"{RUN}/events?limit=3&after_version={after}").json()
        assert len(page["events"]) <= 3
        found, after = found + page["events"], page["next"]
    assert [event["version"] for event in found] == list(range(1, 11))
    assert all(later["previous_hash"] == earlier["hash"] for earlier, later in pairwise(found))
    assert found[-1]["data"]["reason"] == HOSTILE


def test_a_name_that_is_part_of_another_runs_opens_nothing(viewer: Get, log: Database, definition: Definition) -> None:
    write_run(log, definition, "monday", automation="wholegreeting")
    write_run(log, definition, "monday-again")
    for address in (RUN, f"{RUN}/events"):
        answer = viewer(address)
        assert answer.status_code == 404, address
        assert "again" not in answer.text


def test_an_unknown_run_is_said_in_a_page_and_to_a_program(viewer: Get, log: Database) -> None:
    page = viewer("/muster/runs/greeting/nothing")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "no run greeting/nothing" in page.text
    assert "no run" in viewer("/muster/runs/greeting/nothing/events").json()["detail"]


def test_a_dag_that_is_no_automation_says_so(viewer: Get, log: Database) -> None:
    page = viewer("/muster/automations/foreign")
    assert page.status_code == 404
    assert "not an automation" in page.text


def test_an_automation_that_never_ran_is_listed_and_has_its_page(viewer: Get, log: Database) -> None:
    listing = viewer("/muster/").text
    assert "Greeting &lt;b&gt;everyone&lt;/b&gt;" in listing
    assert "No run yet." in listing
    assert "foreign" not in listing
    assert "proving" in viewer("/muster/automations/greeting").text
    assert viewer("/muster/api/automations").json()[0]["last_run"] is None


def test_automations_are_listed_with_their_last_run_and_all_their_versions(
    viewer: Get, log: Database, definition: Definition
) -> None:
    write_run(log, definition, "first")
    later = definition.model_copy(update={"title": "Edited"})
    del later.__dict__["hash"]
    write_run(log, later, "second")
    listed = viewer("/muster/api/automations").json()
    (found,) = (automation for automation in listed if automation["automation"] == definition.name)
    assert found["automation"] == "greeting"
    assert found["last_run"] == {"id": "greeting/second", "status": "failed", "definition": later.hash}
    assert [each["definition"] for each in found["versions"]] == [definition.hash, later.hash]
    assert ">second</a>" in viewer("/muster/").text


def test_a_database_that_is_away_is_said_and_not_taken_for_a_missing_run(
    viewer: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_MUSTER_DB", raising=False)
    assert viewer("/muster/health").status_code == 503
    page = viewer(RUN)
    assert page.status_code == 503
    assert "muster_db" in page.text


def test_a_question_that_makes_no_sense_is_refused(viewer: Get, run: str) -> None:
    assert viewer(f"{RUN}?index=-1&step=greet").status_code == 422
    assert viewer(f"{RUN}/events?limit=100000").status_code == 422


def test_links_into_airflow_are_left_out_inside_its_frame(viewer: Get, run: str) -> None:
    assert "dags/greeting/runs/monday" not in viewer(RUN, **{"Sec-Fetch-Dest": "iframe"}).text
    assert "../../../dags/greeting/runs/monday" in viewer(RUN, **{"Sec-Fetch-Dest": "document"}).text


def test_a_definition_that_was_stored_with_secrets_is_shown_without_them(
    viewer: Get, log: Database, definition: Definition
) -> None:
    settings = {"smtp_password": "hunter2-hunter2", "crm": {"X-Api-Key": ["k1-k1-k1"]}, "inbox": "/srv/kept"}
    write_run(log, definition.model_copy(update={"settings": settings}), "monday")
    page = viewer(f"{RUN}?show=automation").text
    assert "/srv/kept" in page
    for secret in ("hunter2", "k1-k1"):
        assert secret not in page


def test_what_airflow_kept_of_a_dag_written_with_secrets_is_shown_without_them(
    viewer: Get, log: Database, definition: Definition
) -> None:
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.session import create_session
    from sqlalchemy.orm.attributes import flag_modified

    source = "automation: greeting\nsettings: {smtp_password: hunter2-hunter2}\nsteps: []"
    doc = f"Version `{definition.hash[:12]}`\n\n```yaml\n{source}\n```"
    write_run(log, definition, "monday")
    with create_session() as session:
        kept = SerializedDagModel.get("greeting", session=session)
        assert kept is not None
        before, data = kept.data["dag"]["doc_md"], kept.data
        data["dag"]["doc_md"] = doc
        kept._data = data
        flag_modified(kept, "_data")
    try:
        for address in ("/muster/automations/greeting", f"{RUN}?show=automation"):
            page = viewer(address).text
            assert "smtp_password" in page
            assert "hunter2" not in page
    finally:
        with create_session() as session:
            kept = SerializedDagModel.get("greeting", session=session)
            assert kept is not None
            data = kept.data
            data["dag"]["doc_md"] = before
            kept._data = data
            flag_modified(kept, "_data")


def test_calls_without_a_price_are_said_and_never_shown_as_nothing(viewer: Get, log: Database, run: str) -> None:
    called = {"step": "greet", "index": 0, "agent": "clerk", "model": "own", "cost": None}
    EventLog(log).append(run, [NewEvent(type=EventType.MODEL_CALLED, data=called)])
    page = viewer(f"{RUN}?step=greet").text
    assert page.count("at least $0.0421, 1 call unpriced") == 2, "of the run and of the step"
    assert page.count("unknown, 1 call unpriced") == 1, "of the item"
    assert "price unknown" in page, "of the call"


def _answer(log: Database, run: str, index: int, *, approved: bool) -> None:
    """Write that a person has answered for an item that has succeeded."""
    said = {"step": "greet", "index": index, "approved": approved, "by": "ann", "answer": "person"}
    EventLog(log).append(run, [NewEvent(type=EventType.APPROVAL_ANSWERED, data=said)])
    ended = {"step": "greet", "index": index, "output": {"approved": approved}, "produced_by": "person:ann"}
    EventLog(log).append(run, [NewEvent(type=EventType.STEP_SUCCEEDED, data=ended)])


def test_a_rejection_is_told_from_an_approval_by_whom_may_see_answers(
    viewer: Get, log: Database, run: str, lacking: Lacking
) -> None:
    _answer(log, run, 0, approved=True)
    _answer(log, run, 1, approved=False)
    page = viewer(f"{RUN}?step=greet").text
    assert "1 approved, 1 rejected, 1 set aside" in page
    assert 's rejected">rejected' in page
    lacking.lacking = DagAccessEntity.HITL_DETAIL
    assert "2 succeeded" in viewer(RUN).text.replace("1 set aside, ", "")
    assert "rejected" not in viewer(RUN).text.partition("<table")[2]


PARTS = {
    DagAccessEntity.RUN: ["monday", "ann", "first output"],
    DagAccessEntity.CODE: ["This comment is only in what was written"],
    DagAccessEntity.VERSION: ["first_seen"],
    DagAccessEntity.TASK_INSTANCE: ["2 succeeded", "step.started"],
    DagAccessEntity.XCOM: ["first output"],
    DagAccessEntity.HITL_DETAIL: ["step.started"],
}
"""What nobody is told anywhere who may see a Dag, and not this of it."""


class Lacking(SimpleAuthManager):
    """Rights as finely divided as Airflow has them: everything of a Dag may be seen but one part."""

    lacking: DagAccessEntity | None = None

    def is_authorized_dag(self, *, access_entity: DagAccessEntity | None = None, **asked: Any) -> bool:
        allowed = super().is_authorized_dag(access_entity=access_entity, **asked)
        return allowed and (access_entity is None or access_entity != self.lacking)


@pytest.fixture
def lacking(server: TestClient, monkeypatch: pytest.MonkeyPatch) -> Lacking:
    manager = Lacking()
    monkeypatch.setattr(_AuthManagerState, "instance", manager)
    return manager


@pytest.mark.parametrize("entity", PARTS, ids=lambda entity: entity.name)
def test_each_part_of_a_page_asks_for_the_permission_of_what_it_shows(
    viewer: Get, run: str, lacking: Lacking, entity: DagAccessEntity
) -> None:
    shown = [*addresses(), f"{RUN}?show=automation", f"{RUN}?step=greet&index=0"]
    everything = "".join(viewer(address).text for address in shown)
    for told in PARTS[entity]:
        assert told in everything, told
    lacking.lacking = entity
    answers = {address: viewer(address) for address in shown}
    for address, answer in answers.items():
        for told in PARTS[entity]:
            # The address of the page itself is no secret to whoever asked for it.
            assert told not in answer.text.replace(run, ""), (address, told)
    assert "Greeting &lt;b&gt;everyone&lt;/b&gt;" in answers["/muster/"].text
    assert answers["/muster/automations/greeting"].status_code == 200
    of_a_run = {address: answer.status_code for address, answer in answers.items() if address.startswith(RUN)}
    if entity is DagAccessEntity.RUN:
        assert set(of_a_run.values()) == {403}


def test_who_may_not_see_runs_is_told_so_and_not_that_there_are_none(viewer: Get, run: str, lacking: Lacking) -> None:
    lacking.lacking = DagAccessEntity.RUN
    assert "You may not see its runs." in viewer("/muster/").text
    page = viewer("/muster/automations/greeting").text
    assert "You may not see the runs of this automation." in page
    assert "No run yet." not in page
    assert viewer("/muster/api/automations").json()[0]["last_run"] is None
