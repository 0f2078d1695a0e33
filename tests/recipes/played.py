"""What Muster makes of the recipes: collected by `tests/test_recipes.py`, in a process whose Muster has their files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import muster
from muster.cli import doctor
from muster.coordination.conflicts import (
    Conflict,
    ConflictKind,
    ConflictSettings,
    Decider,
    HandedOn,
    Resolved,
    Side,
    resolve,
)
from muster.database import Database
from muster.events.log import EventLog
from muster.language import Definition, load_folder
from muster.language.reference import page
from muster.language.schema import automation_schema
from muster.notifications import Outbox
from muster.recovery.ledger import Ledger
from muster_airflow.channels import channels
from muster_airflow.compiler.dag import deadline_alerts
from muster_airflow.notifications import airflow_sender
from muster_airflow.notifiers import MusterNotifier
from support.runs import Site
from support.serving import serving

HOUSE = Path(os.environ["RECIPES"])
PARCEL = (HOUSE / "include/automations/office/send_parcel.yaml").read_text()
FAILS = "  - { id: fail, skill: parcels.print_label, with: { to: Hamburg, weight: much } }\n"
PAGED = """automation: paged
incidents: [{ pager: day_shift }]
deadlines: [{ within: 1h, notify: [{ pager: night_shift }] }]
steps:
  - { id: tell, notify: [{ pager: night_shift, text: "Water & smoke" }], retry: { times: 1, delay: 1s } }
"""


class Pagers(HTTPServer):
    """The pagers' server: keeps what it accepts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.accepted: list[tuple[str, dict[str, str]]] = []
        self.answers: list[int] = []


class _Handler(BaseHTTPRequestHandler):
    server: Pagers

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if status == 200:
            self.server.accepted.append((self.path, message))
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"p7")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output quiet."""


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    found = Site(tmp_path, database)
    found.services = replace(found.services, notices=airflow_sender(database, EventLog(database).aseals))
    return found


@pytest.fixture
def pagers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pagers]:
    """The server, connected as an operator does it."""
    with serving(Pagers()) as server:
        connection = {"conn_type": "http", "host": f"http://127.0.0.1:{server.server_port}"}
        monkeypatch.setenv("AIRFLOW_CONN_MUSTER_PAGER", json.dumps(connection))
        yield server


def test_the_channel_delivers_once_and_tries_again_what_may_pass(
    site: Site, database: Database, pagers: Pagers
) -> None:
    assert Path(muster.__file__).is_relative_to(HOUSE), "these are the files of the recipes"
    pagers.answers = [503]
    run = site.open(site.definition(PAGED))
    assert [site.step(run, "tell").status for _ in range(2)] == ["succeeded", "succeeded"]
    ((path, message),) = pagers.accepted
    assert (path, message["text"]) == ("/rotas/night_shift", "Water & smoke")
    (entry,) = Outbox(database).entries()
    assert (entry.channel, entry.delivered_by, entry.status, entry.attempts) == ("pager", "pager", "sent", 2)
    assert (entry.reference, entry.subject) == ("p7", "")
    (delivery,) = site.state(run).step("tell").output
    assert (delivery["delivered_by"], delivery["target"]) == ("pager", "night_shift")
    assert [entry.kind for entry in Ledger(database).entries()] == ["pager"]


def test_the_channel_keeps_what_no_connection_is_set_for(
    site: Site, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_MUSTER_PAGER", raising=False)
    site.run(site.definition(PAGED))
    (entry,) = Outbox(database).entries()
    assert (entry.status, entry.note) == ("kept", "Kept in the outbox: there is no connection 'muster_pager'.")


def test_the_channel_is_checked_and_documented(site: Site) -> None:
    path = site.include / "automations" / "paged.yaml"
    path.write_text(PAGED.replace("night_shift, text", "night shift, text"))
    (problem,) = load_folder(site.include).problems
    assert "5:35: `night shift` is not the name of a rota" in str(problem)
    assert "Write it as in `night_shift`." in str(problem)
    assert "#### notify: pager\n\nA message to whoever is on call.\n" in page()
    assert "`delivered_by` is `slack`, `smtp`, `pager`, or `outbox` where nothing is connected." in page()
    assert "PagerTarget" in automation_schema()["$defs"]
    assert list(channels()) == ["email", "pager", "slack"]
    place: Any = SimpleNamespace(airflow=None)
    assert "Pager" in [check.name for check in doctor._channels(place)]


def test_the_channel_is_told_of_deadlines_and_of_stuck_runs(site: Site) -> None:
    from muster.saga.incidents import incident_places

    definition = site.definition(PAGED)
    assert Definition.model_validate_json(definition.canonical_json()) == definition
    assert incident_places(definition) == [("pager", "day_shift")]
    (alert,) = deadline_alerts(definition) or []
    notifier = MusterNotifier(**alert.callback.kwargs)  # type: ignore[arg-type]
    context: Any = {"dag_run": {"dag_id": "paged", "dag_run_id": "one"}, "deadline": {"id": "0199-a"}}
    (fields,) = notifier.notices(context)
    assert (fields["channel"], fields["target"]) == ("pager", "night_shift")


def test_the_domain_of_skills_is_performed_and_undone(site: Site) -> None:
    run = site.open(site.definition(PARCEL + FAILS), weight="31.50")
    steps = [site.step(run, step).status for step in ("label", "tell", "fail")]
    assert steps == ["succeeded", "succeeded", "failed"], "its type makes the weight a number, which is more than 30"
    (label,) = (path for path in site.services.artifacts.rglob("*") if path.is_file())
    assert label.name == site.state(run).step("label").output["number"]
    assert site.unwind(run) == "succeeded"
    assert not label.exists()


def test_the_domain_of_skills_is_checked_and_may_be_a_sites_own(site: Site) -> None:
    wrong = site.include / "automations" / "wrong.yaml"
    wrong.write_text(PARCEL.replace("to: Hamburg", "into: Hamburg").replace("send_parcel", "wrong"))
    assert "the skill `parcels.print_label` takes no argument `into`" in [
        problem.message for problem in load_folder(site.include).problems
    ]
    wrong.unlink()
    shutil.copy(HOUSE / "include/muster/skills/parcels/__init__.py", site.include / "skills" / "parcels.py")
    assert site.state(site.run(site.definition(PARCEL), weight="2")).step("tell").status == "skipped"


def test_the_strategy_resolves_what_it_can_is_checked_and_hands_on_the_rest() -> None:
    settings = ConflictSettings.model_validate({"facts": {"strategy": "most_sides"}})

    def resolved(*values: str) -> Resolved | HandedOn:
        sides = tuple(Side(f"agent_{number}", value) for number, value in enumerate(values))
        return resolve(Conflict(ConflictKind.FACTS, "capital", sides), settings)

    done, open_ = resolved("Bonn", "Berlin", "Berlin"), resolved("Bonn", "Berlin")
    assert isinstance(done, Resolved)
    assert (done.value, done.strategy, done.why) == ("Berlin", "most_sides", ("`most_sides`: most agents came to it.",))
    assert isinstance(open_, HandedOn)
    assert (open_.to, open_.why[0]) == (
        Decider.HUMAN,
        "`most_sides`: as many agents came to one value as to another.",
    )
    with pytest.raises(ValueError, match="`most_sides` cannot resolve conflicts of files"):
        ConflictSettings.model_validate({"files": {"strategy": "most_sides"}})
