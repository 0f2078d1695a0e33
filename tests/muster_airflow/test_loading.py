"""What Airflow registers of a folder: its own reader of Dag files is the witness."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from muster.language import load_folder

FAILING = "import nowhere_at_all\n\nclass Fails: ...\n"
AUTOMATION = """
automation: {name}
settings: {{allowed_operators: [failing_operators.Fails, airflow.providers.*]}}
triggers: [{{files: {{path: /srv/in, input: names}}}}]
inputs: {{names: {{type: array, default: []}}}}
steps:
  - {{id: first, notify: [{{slack: "#ops", text: x}}]}}
  - {{id: second, {what}}}
"""
NOTICE = """notify: [{slack: "#ops", text: x}]"""
STUB = {"muster.not_valid"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose plugins hold an operator that cannot be imported, though its file is there."""
    for folder in ("dags", "include/automations", "plugins"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "plugins" / "failing_operators.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path / "plugins")
    dag_file = "from muster_airflow import load_automations\n\nload_automations(globals(), reconciler=False)\n"
    (tmp_path / "dags" / "automations.py").write_text(dag_file)
    return tmp_path


def write(project: Path, name: str, what: str) -> None:
    path = project / "include" / "automations" / f"{name}.yaml"
    path.write_text(AUTOMATION.format(name=name, what=what))


def registered(project: Path) -> dict[str, Any]:
    bag = DagBag(dag_folder=str(project / "dags"), safe_mode=False)
    assert not bag.import_errors
    return dict(bag.dags)


def test_a_dag_is_registered_whole_or_not_at_all(project: Path) -> None:
    write(project, "whole", NOTICE)
    names = [f"half_{number}" for number in range(5)]
    for name in names:
        write(project, name, "operator: failing_operators.Fails")
    found = registered(project)
    assert set(found) == {"whole", "whole.files", *names}
    assert set(found["whole"].task_ids) == {"open", "first", "second", "close"}
    assert {name: set(found[name].task_ids) for name in names} == dict.fromkeys(names, STUB)


def test_what_stands_in_for_it_leaves_no_trace_once_it_is_mended(project: Path) -> None:
    write(project, "half", "operator: failing_operators.Fails")
    stub = registered(project)["half"]
    assert stub.is_paused_upon_creation is None, "Airflow would keep the mended automation paused"
    assert "nowhere_at_all" in stub.doc_md
    write(project, "half", NOTICE)
    assert set(registered(project)["half"].task_ids) == {"open", "first", "second", "close"}


def test_what_stands_in_is_called_as_its_file_says(project: Path) -> None:
    broken = "automation: {name}\nsteps: [{{id: first, skill: nowhere.nothing}}]\n"
    texts = {
        "invoices.yaml": broken.format(name="processing"),
        "x/pay.yaml": broken.format(name="pay_x"),
        "y/pay.yaml": broken.format(name="pay_y"),
        "y/twice.yaml": broken.format(name="pay_y"),
        "unread.yaml": "automation: cannot_be_read\nsteps: [\n",
        "un-named.yaml": "steps: 3\n",
        "z/whole.yaml": "automation: pay\nsteps: [{id: tell, notify: [{slack: '#x', text: one}]}]\n",
    }
    for name, text in texts.items():
        path = project / "include" / "automations" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = {name: set(dag.task_ids) == STUB for name, dag in registered(project).items()}
    stubs = ["processing", "pay_x", "pay_y", "cannot_be_read", "un_named"]
    assert found == {"pay": False, **dict.fromkeys(stubs, True)}
    for name in stubs[:-1]:
        assert set(load_folder(project / "include", only=name).called.values()) == {name}, "also in a task's process"


def test_an_operator_that_would_have_tasks_skipped_is_no_dag(project: Path) -> None:
    write(project, "half", "operator: airflow.providers.standard.operators.latest_only.LatestOnlyOperator")
    stub = registered(project)["half"]
    assert stub.description.startswith("NOT VALID")
    assert "has Airflow skip tasks after it" in stub.doc_md


def test_a_dag_is_built_without_what_only_its_tasks_need(project: Path) -> None:
    """The driver of the database takes longer to import than a Dag to build, and each task process would wait."""
    write(project, "whole", NOTICE)
    code = (
        "import sys; from muster_airflow import load_automations; found = {}; "
        "load_automations(found, sys.argv[1], reconciler=False); assert 'whole' in found; "
        "print([name for name in ('psycopg', 'muster.database') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code, project / "include"], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


REGISTER = """
import os, sys
from pathlib import Path
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from sqlalchemy import select
from muster.language import load_folder
from muster_airflow.loading import _dags
with create_session() as session:
    session.merge(DagBundleModel(name="muster"))
bag = DagBag(dag_folder=os.devnull, collect_dags=False)
for dag in _dags(load_folder(Path(sys.argv[1]), published=True), {}):
    bag.bag_dag(dag)
sync_bag_to_db(bag, "muster", None)
with create_session() as session:
    for found in session.scalars(select(DagModel).order_by(DagModel.dag_id)):
        print("REGISTERED", ascii([found.dag_id, found.dag_display_name, found.description, found.owners]))
"""
OF_EARLIER = """
automation: earlier
title: "Read D:\\01_inbox"
description: "Letters come to D:\\01_inbox, password: Sommer2024!xyz"
owner: "the\\0team"
triggers: [{files: {path: /srv/in, input: names}}]
inputs: {names: {type: array, default: []}}
steps:
  - {id: first, title: "one\\0two", notify: [{slack: "#ops", text: "D:\\01_inbox"}]}
"""


def test_what_an_earlier_version_published_stops_no_other_automation(dsn: str, project: Path, tmp_path: Path) -> None:
    """On PostgreSQL a single NUL rolls back whatever is registered with it, and SQLite takes it."""
    write(project, "beside", NOTICE)
    (project / "include" / "automations" / "earlier.yaml").write_text(OF_EARLIER)
    told = load_folder(project / "include").problems
    assert [problem.line for problem in told] == [3], "today it is refused"
    parts = dict(part.split("=", 1) for part in dsn.split())
    url = "postgresql+psycopg://{user}:{password}@{host}:{port}/{dbname}".format(**parts)
    environment = {**os.environ, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url, "AIRFLOW_HOME": str(tmp_path / "airflow")}
    run = subprocess.run(
        [sys.executable, "-c", REGISTER, project / "include"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    said = [line for line in run.stdout.splitlines() if line.startswith("REGISTERED")]
    assert run.returncode == 0, run.stderr[-2000:]
    assert [name in line for name, line in zip(("beside", "beside.f", "earlier", "earlier.f"), said, strict=True)] == [
        True
    ] * 4
    assert "Letters come to D:\\ufffd1_inbox" in said[2]
    assert "Sommer2024" not in run.stdout
