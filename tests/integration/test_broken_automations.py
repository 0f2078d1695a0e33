"""Promises of an automation that cannot be made into a Dag: Airflow's own word is the witness."""

from __future__ import annotations

import pytest

from muster.errors import MusterError
from support.airflow import Airflow

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

NOTE = """automation: {name}
settings: {{allowed_operators: [airflow.providers.*, failing_operators.Fails]}}
steps:
  - {{id: first, skill: proving.note, with: {{text: x}}}}
  - {{id: second, {what}}}
  - {{id: third, skill: proving.note, with: {{text: x}}}}
"""
PROVIDER = "operator: airflow.providers.http.operators.http.HttpOperator"
FAILING = "operator: failing_operators.Fails"
RIGHT = "skill: proving.note, with: {text: x}"


def states(airflow: Airflow, run: str) -> dict[str, str]:
    dag_id, _, run_id = run.partition("/")
    return {task["task_id"]: task["state"] for task in airflow.client.tasks(dag_id, run_id)}


def test_an_operator_that_is_not_installed_is_an_import_error_and_no_dag(airflow: Airflow) -> None:
    path = airflow.project / "include" / "automations" / "tests" / "proving_provider.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(NOTE.format(name="proving_provider", what=PROVIDER))
    (error,) = airflow.until("the import error", airflow.client.import_errors)
    assert "proving_provider.yaml:5:28: the operator" in error["stack_trace"]
    assert "Install the package `apache-airflow-providers-http`." in error["stack_trace"]
    assert airflow.client.dag("proving_provider") is None
    with pytest.raises(MusterError, match="proving_provider"):
        airflow.start("proving_provider", "never")
    path.unlink()
    airflow.until("the error to go", lambda: not airflow.client.import_errors())


def test_an_edit_that_cannot_be_imported_leaves_the_last_version_whole(airflow: Airflow) -> None:
    path = airflow.automation("proving_last", NOTE.format(name="proving_last", what=RIGHT))
    path.write_text(NOTE.format(name="proving_last", what=PROVIDER))
    airflow.until("the import error", airflow.client.import_errors)
    run = airflow.start("proving_last", "one")
    assert airflow.finish(run) == "success"
    assert {"first", "second", "third"} <= {task for task, state in states(airflow, run).items() if state == "success"}
    path.unlink()
    airflow.until("the error to go", lambda: not airflow.client.import_errors())


def test_no_run_succeeds_of_an_automation_whose_operator_fails_to_load(airflow: Airflow) -> None:
    """Only executing the operator's module shows it: no lint can."""
    module = airflow.project / "plugins" / "failing_operators.py"
    module.write_text("import nowhere_at_all\n\nclass Fails: ...\n")
    path = airflow.automation("proving_half", NOTE.format(name="proving_half", what=FAILING))
    dag = airflow.client.get("/api/v2/dags/proving_half/details")
    assert "No module named 'nowhere_at_all'" in dag["description"]
    assert not dag["is_paused"]
    runs = [airflow.start("proving_half", f"queued-{number}") for number in range(3)]
    assert [airflow.finish(run) for run in runs] == ["failed"] * 3
    for run in runs:
        assert states(airflow, run) == {"muster.not_valid": "failed"}
        assert airflow.types(run) == [], "no step of it was begun"

    path.write_text(NOTE.format(name="proving_half", what=RIGHT))
    airflow.until("the whole Dag", lambda: "NOT VALID" not in str(airflow.client.dag("proving_half")["description"]))
    mended = airflow.start("proving_half", "mended")
    assert airflow.finish(mended) == "success"
    assert set(states(airflow, mended)) == {"open", "first", "second", "third", "close"}
    module.unlink()
