"""Automations as files: made, checked, described, listed."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from support.command import Muster, read


def test_a_new_automation_is_valid_and_listed_with_its_version(muster: Muster, project: Path) -> None:
    made = muster("new", "weekly_report", "--category", "sales", "--json")
    assert made.exit_code == 0, made.output
    assert Path(read(made)["file"]) == project / "include/automations/sales/weekly_report.yaml"
    assert muster("lint").exit_code == 0
    [listed] = read(muster("list", "--json"))["automations"]
    assert listed["name"] == "weekly_report"
    assert listed["category"] == "sales"
    assert len(listed["version"]) == 64


def test_the_version_changes_with_the_content_and_only_then(muster: Muster, project: Path) -> None:
    muster("new", "report")
    path = project / "include/automations/business_process/report.yaml"
    first = read(muster("list", "--json"))["automations"][0]["version"]
    path.write_text("# a comment\n" + path.read_text())
    assert read(muster("list", "--json"))["automations"][0]["version"] == first
    path.write_text(path.read_text().replace("Hello", "Good day"))
    assert read(muster("list", "--json"))["automations"][0]["version"] != first


def test_an_automation_is_never_overwritten(muster: Muster, project: Path) -> None:
    muster("new", "report")
    path = project / "include/automations/business_process/report.yaml"
    path.write_text(path.read_text() + "# mine\n")
    for category in ("business_process", "sales"):
        again = muster("new", "report", "--category", category)
        assert again.exit_code == 1
        assert "already" in again.stderr
    assert path.read_text().endswith("# mine\n")
    assert not (project / "include/automations/sales").exists()


def test_a_name_that_cannot_be_is_a_wrong_command_line(muster: Muster) -> None:
    for name in ("Bad Name", "../evil", "1st", ""):
        assert muster("new", name).exit_code == 2


def test_problems_are_shown_with_their_place_and_fail_the_command(muster: Muster, project: Path) -> None:
    (project / "include/automations/bad.yaml").write_text("automation: bad\nsteps:\n  - id: one\n    skil: x.y\n")
    muster("new", "good")
    shown = muster("lint")
    assert shown.exit_code == 1
    assert "include/automations/bad.yaml:" in shown.stdout
    assert "1 valid automation" in shown.stdout
    told = read(muster("lint", "--json"))
    assert told["valid"] == ["good"]
    assert {problem["line"] for problem in told["problems"]} <= {3, 4}
    assert told["problems"]
    listed = read(muster("list", "--json"))
    assert [each["name"] for each in listed["automations"]] == ["good"]
    assert [Path(path).name for path in listed["invalid"]] == ["bad.yaml"]


def test_the_schema_takes_what_lint_takes_and_refuses_what_it_refuses(muster: Muster, project: Path) -> None:
    muster("new", "report")
    schema = json.loads(muster("schema").stdout)
    written = yaml.safe_load((project / "include/automations/business_process/report.yaml").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(written)
    assert not validator.is_valid({**written, "nonsense": 1})
    assert not validator.is_valid({**written, "steps": []})


def test_outside_of_a_project_the_remedy_is_said(
    muster: Muster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = muster("list")
    assert result.exit_code == 1
    assert "MUSTER_PROJECT" in result.stderr
    assert result.stdout == ""


NO_PROVIDER = """automation: fetches
steps:
  - id: before
    notify: [{slack: "#ops", text: first}]
  - id: fetch
    operator: airflow.providers.http.operators.http.HttpOperator
"""


def test_an_operator_that_is_not_installed_is_located_and_the_package_named(muster: Muster, project: Path) -> None:
    (project / "include/automations/fetches.yaml").write_text(NO_PROVIDER)
    place, package = "include/automations/fetches.yaml:6:15", "apache-airflow-providers-http"
    for command in ("lint", "list", "doctor"):
        shown = muster(command)
        said = "".join(shown.stdout.split())
        assert place in said, command
        assert "thereisnomodule`airflow.providers.http`here" in said, command
        assert package in said, command
    assert read(muster("list", "--json"))["automations"] == []
    assert muster("lint").exit_code == muster("doctor").exit_code == 1


@pytest.mark.parametrize(
    "operator", ["airflow.providers.standard.operators.latest_only.LatestOnlyOperator", "site_branches.OnlyOnMondays"]
)
def test_an_operator_that_has_airflow_skip_what_comes_after_it_is_refused(
    muster: Muster, project: Path, operator: str
) -> None:
    (project / "plugins").mkdir()
    (project / "plugins" / "site_branches.py").write_text(
        "from airflow.providers.standard.operators.weekday import BranchDayOfWeekOperator\n\n"
        "class OnlyOnMondays(BranchDayOfWeekOperator): ...\n"
    )
    (project / "include" / "settings.yaml").write_text("allowed_operators: [airflow.providers.*, site_branches.*]\n")
    (project / "include/automations/fetches.yaml").write_text(
        NO_PROVIDER.replace("airflow.providers.http.operators.http.HttpOperator", operator)
    )
    for command in ("lint", "list", "doctor"):
        shown = muster(command)
        said = "".join(shown.stdout.split())
        assert "include/automations/fetches.yaml:6:15" in said, command
        assert f"theoperator`{operator}`hasAirflowskiptasksafterit" in said, command
        assert "Write`when`atthestepsthatarenotalwaystobedone" in said, command
    assert read(muster("list", "--json"))["automations"] == []
    assert muster("lint").exit_code == muster("doctor").exit_code == 1


def test_lint_checks_what_it_is_given(muster: Muster, project: Path, tmp_path: Path) -> None:
    muster("new", "report", "--category", "sales")
    bad = project / "include/automations/bad.yaml"
    bad.write_text("automation: bad\nsteps:\n  - id: one\n    skil: x.y\n")
    good = project / "include/automations/sales"
    for path, valid, problems in (
        (project, ["report"], True),
        (project / "include", ["report"], True),
        (project / "include/automations", ["report"], True),
        (good, ["report"], False),
        (good / "report.yaml", ["report"], False),
        (bad, [], True),
    ):
        told = muster("lint", str(path), "--json")
        assert read(told)["valid"] == valid, path
        assert bool(read(told)["problems"]) is problems, path
        assert told.exit_code == (1 if problems else 0), path


def test_lint_refuses_what_holds_no_automation(muster: Muster, project: Path, tmp_path: Path) -> None:
    (project / "include/automations/empty").mkdir()
    (project / "include/agents").mkdir()
    for path in (tmp_path, project / "include/agents", project / "include/automations/empty", project / "nowhere"):
        refused = muster("lint", str(path))
        assert refused.exit_code == 2, path
        assert "valid automation" not in refused.output
